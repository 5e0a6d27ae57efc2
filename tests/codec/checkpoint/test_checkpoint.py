import json
import os
import pickle
import re
import stat

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from tests.factories import (
    SMALL_ENCODER,
    VOCAB,
    WORDS,
    chirps,
    old_weight_norm,
    published_codec,
    small_codec,
    tiny_published,
)
from uniaudio_cli.codec.checkpoint import convert, load_codec, save_codec
from uniaudio_cli.codec.checkpoint.stored import fold_weight_norm
from uniaudio_cli.core.errors import MissingWeightsError, UniAudioError, UsageError

WAV = chirps(7_680)
BOTH = pytest.mark.parametrize("make", [published_codec, small_codec])


def same(one, other, atol=1e-4):
    """Whether two codecs make the same of one clip."""
    codes, again = one.encode(WAV), other.encode(WAV)
    assert [level.tolist() for level in codes] == [level.tolist() for level in again]
    assert torch.allclose(one.decode(codes, seed=1), other.decode(codes, seed=1), atol=atol)
    return True


def nothing_left_over(folder, *names):
    return {path.name for path in folder.iterdir()} == set(names)


# Published files


def test_published(tmp_path):
    codec = load_codec(tiny_published(tmp_path))
    assert same(codec, published_codec())
    assert codec.config == published_codec().config
    assert codec.config.words == (WORDS, None, None)
    assert not codec.training
    assert not any(parameter.requires_grad for parameter in codec.parameters())
    assert not any("parametrizations" in name for name, _ in codec.named_parameters())
    assert not any(name.startswith("quantizer") for name, _ in codec.named_parameters())


def test_published_with_files_named(tmp_path):
    checkpoint = tiny_published(tmp_path)
    named = tmp_path / "elsewhere"
    named.mkdir()
    for name in ("config.yaml", "words.npy"):
        (tmp_path / name).rename(named / name)
    codec = load_codec(str(checkpoint), str(named / "config.yaml"), str(named / "words.npy"))
    assert codec.config.words[0] == WORDS


def test_published_with_the_full_vocabulary_at_level_0(tmp_path):
    codec = load_codec(tiny_published(tmp_path, words=None))
    assert codec.config.sizes == (VOCAB, VOCAB, VOCAB)
    assert codec.config.words == (None, None, None)
    assert same(codec, published_codec(words=None))


def test_the_full_vocabulary_beside_words_of_another_checkpoint(tmp_path):
    checkpoint = tiny_published(tmp_path, words=None)
    np.save(tmp_path / "layer1.npy", np.array(WORDS))
    assert load_codec(checkpoint).config.words[0] is None


def test_new_weight_norm_keys(tmp_path):
    checkpoint = tiny_published(tmp_path)
    state = dict(published_codec().state_dict())
    assert "encoder.block.0.parametrizations.weight.original0" in state
    assert "encoder.block.0.weight_g" in torch.load(checkpoint, weights_only=True)["codec_model"]
    torch.save({"codec_model": state}, checkpoint)
    assert same(load_codec(checkpoint), published_codec())


def test_folding_is_what_weight_norm_computes():
    codec = published_codec()
    folded = fold_weight_norm(old_weight_norm(dict(codec.state_dict())))
    modules = {name: module for name, module in codec.named_modules() if hasattr(module, "parametrizations")}
    assert len(modules) > 50
    for name, module in modules.items():
        assert torch.allclose(folded[f"{name}.weight"], module.weight, atol=1e-6)
    assert not any("weight_g" in name or "weight_v" in name for name in folded)


def test_a_lone_npy_of_another_kind_is_passed_over(tmp_path):
    checkpoint = tiny_published(tmp_path)
    np.save(tmp_path / "statistics.npy", np.zeros(60))
    np.save(tmp_path / "other.npy", np.array(["a", "b"]))
    assert load_codec(checkpoint).config.words[0] == WORDS


# Our own


@BOTH
@pytest.mark.parametrize("inference", [False, True])
def test_round_trip(tmp_path, make, inference):
    codec = make()
    path = save_codec(codec, tmp_path / "mine.v1.safetensors", inference=inference)
    assert nothing_left_over(tmp_path, "mine.v1.json", "mine.v1.safetensors")
    for place in (path, str(path), tmp_path / "mine.v1.json", tmp_path):
        loaded = load_codec(place)
        assert loaded.config == codec.config
        assert same(loaded, codec)


def test_an_encoder_of_level_0_goes_round_and_decides_level_0_alone(tmp_path):
    codec = small_codec(coarse_encoder=SMALL_ENCODER)
    assert codec.coarse_encoder is not None
    loaded = load_codec(save_codec(codec, tmp_path / "a.safetensors", inference=True))
    assert loaded.config == codec.config
    assert same(loaded, codec)
    wav = chirps(16_000)
    before = codec.encode(wav)
    codec.encoder.load_state_dict(small_codec(seed=1).encoder.state_dict())
    after = codec.encode(wav)
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [True, False, False]
    assert "coarse_encoder" not in small_codec().state_dict()
    half = load_codec(tmp_path / "a.safetensors", dtype=torch.float16)
    assert {p.dtype for network in half.networks() for p in network.parameters()} == {torch.float16}


@BOTH
def test_saving_for_inference_keeps_the_codec_as_it_is(tmp_path, make):
    codec = make()
    names = list(codec.state_dict())
    save_codec(codec, tmp_path / "a.safetensors", inference=True)
    assert list(codec.state_dict()) == names
    stored = load_file(tmp_path / "a.safetensors")
    assert {name for name in stored if "quantizer" in name} == {f"quantizer.quantizers.{k}.projected" for k in range(3)}
    assert not any("parametrizations" in name for name in stored)


def test_converted_is_unconverted(tmp_path):
    checkpoint = tiny_published(tmp_path / "published")
    plain = load_codec(checkpoint)
    path = convert(checkpoint, tmp_path / "ready.safetensors")
    assert same(load_codec(path), plain, atol=0)
    raw = convert(checkpoint, tmp_path / "raw.safetensors", inference=False)
    assert same(load_codec(raw), plain, atol=0)
    assert same(load_codec(convert(raw, tmp_path / "from_raw.safetensors")), plain, atol=0)
    assert load_codec(path).config == plain.config


def test_half_precision_files(tmp_path):
    path = save_codec(small_codec(), tmp_path / "a.safetensors", dtype=torch.float16, codebook_dtype=torch.float16)
    stored = load_file(path)
    assert {tensor.dtype for name, tensor in stored.items() if "cb_proj" not in name} == {torch.float16}
    assert {tensor.dtype for name, tensor in stored.items() if "cb_proj" in name} == {torch.float32}
    loaded = load_codec(path)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    codes, exact = loaded.encode(WAV), small_codec().encode(WAV)
    assert (codes[0] == exact[0]).float().mean() > 0.7


@BOTH
def test_half_precision_networks_with_exact_tables(tmp_path, make):
    path = save_codec(make(), tmp_path / "a.safetensors", inference=True)
    codec = load_codec(path, dtype=torch.bfloat16)
    assert codec.dtype == torch.bfloat16
    assert {parameter.dtype for parameter in codec.parameters()} == {torch.bfloat16}
    assert {buffer.dtype for buffer in codec.buffers()} == {torch.float32}
    codes = codec.encode(WAV)
    assert codec.decode(codes, seed=1).dtype == torch.float32
    assert codec.decode(codes, seed=1).shape == WAV.shape


def test_codebooks_are_kept_on_request(tmp_path):
    path = save_codec(small_codec(), tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match="without its codebooks"):
        save_codec(load_codec(path), tmp_path / "b.safetensors")
    codec = load_codec(path, keep_codebooks=True)
    assert torch.equal(codec.quantizer.levels()[0].codebook.weight, small_codec().quantizer.levels()[0].codebook.weight)
    assert same(load_codec(save_codec(codec, tmp_path / "b.safetensors")), small_codec())


def test_levels_that_share_a_codebook_can_be_saved(tmp_path):
    codec = small_codec()
    first, second = codec.quantizer.levels()[1:]
    second.codebook = first.codebook
    codec.quantizer.project()
    assert same(load_codec(save_codec(codec, tmp_path / "a.safetensors")), codec)


def test_files_are_not_replaced_unasked(tmp_path):
    path = save_codec(small_codec(), tmp_path / "a.safetensors")
    before = path.read_bytes()
    with pytest.raises(UsageError, match="already exists"):
        save_codec(small_codec(seed=1), path)
    assert path.read_bytes() == before
    save_codec(small_codec(seed=1), path, force=True)
    assert same(load_codec(path), small_codec(seed=1))
    assert nothing_left_over(tmp_path, "a.json", "a.safetensors")


def test_a_failed_save_leaves_what_was_there(tmp_path, monkeypatch):
    path = save_codec(small_codec(), tmp_path / "a.safetensors")

    def fail(file, config):
        raise KeyboardInterrupt

    monkeypatch.setattr("uniaudio_cli.codec.checkpoint.own.write_description", fail)
    with pytest.raises(KeyboardInterrupt):
        save_codec(small_codec(seed=1), path, force=True)
    assert nothing_left_over(tmp_path, "a.json", "a.safetensors")
    assert same(load_codec(path), small_codec())


def test_others_may_read_what_was_saved(tmp_path):
    path = save_codec(small_codec(), tmp_path / "a.safetensors")
    modes = {stat.S_IMODE(file.stat().st_mode) for file in (path, tmp_path / "a.json")}
    (tmp_path / "plain").touch()
    assert modes == {stat.S_IMODE((tmp_path / "plain").stat().st_mode)}


# Files that would do harm


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("save", [torch.save, lambda data, path: path.write_bytes(pickle.dumps(data, protocol=2))])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path, save):
    checkpoint, harm = tiny_published(tmp_path), tmp_path / "harm"
    save({"codec_model": {"encoder.block.0.bias": Touch(harm)}}, checkpoint)
    with pytest.raises(UniAudioError, match="read safely"):
        load_codec(checkpoint)
    assert not harm.exists()


def test_malicious_words_and_yaml_are_refused_and_not_run(tmp_path):
    checkpoint, harm = tiny_published(tmp_path), tmp_path / "harm"
    np.save(tmp_path / "words.npy", np.array([Touch(harm)], dtype=object), allow_pickle=True)
    with pytest.raises(UniAudioError, match="list of strings"):
        load_codec(checkpoint, words=tmp_path / "words.npy")
    (tmp_path / "config.yaml").write_text(f"generator: !!python/object/apply:os.mkdir ['{harm}']", encoding="utf-8")
    with pytest.raises(UniAudioError, match=r"config.yaml: not YAML that can be read safely \(line 1\)"):
        load_codec(checkpoint)
    assert not harm.exists()


# Files that are wrong


def state_edited(folder, edit):
    """Apply `edit` to the published state dict."""
    data = torch.load(folder / "checkpoint.pth", weights_only=True)
    edit(data["codec_model"])
    torch.save(data, folder / "checkpoint.pth")


def arguments_edited(folder, **changes):
    """Set (or with None, remove) arguments of the published YAML."""
    data = yaml.safe_load((folder / "config.yaml").read_text())
    arguments = data["generator"]["config"] | changes
    data["generator"]["config"] = {key: value for key, value in arguments.items() if value is not None}
    (folder / "config.yaml").write_text(yaml.safe_dump(data))


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


BAD_PUBLISHED = {
    "no checkpoint": (lambda f: (f / "checkpoint.pth").unlink(), MissingWeightsError, "checkpoint.pth: no such file"),
    "cut short": (lambda f: cut(f / "checkpoint.pth"), UniAudioError, "read safely"),
    "empty": (lambda f: (f / "checkpoint.pth").write_bytes(b""), UniAudioError, "read safely"),
    "text": (lambda f: (f / "checkpoint.pth").write_text("404: Not Found"), UniAudioError, "read safely"),
    "another model": (lambda f: torch.save({"model": {}}, f / "checkpoint.pth"), UniAudioError, "no 'codec_model'"),
    "a list": (lambda f: torch.save([1, 2], f / "checkpoint.pth"), UniAudioError, "no 'codec_model'"),
    "not tensors": (
        lambda f: torch.save({"codec_model": {"encoder.block.0.bias": 1}}, f / "checkpoint.pth"),
        UniAudioError,
        "more than named tensors",
    ),
    "no YAML": (lambda f: (f / "config.yaml").unlink(), MissingWeightsError, "no configuration"),
    "two YAMLs": (lambda f: (f / "b.yml").touch(), UsageError, r"more than one configuration \(b.yml, config.yaml\)"),
    "broken YAML": (lambda f: (f / "config.yaml").write_text("a: [1,\nb: }"), UniAudioError, r"\(line 2\)"),
    "binary YAML": (lambda f: (f / "config.yaml").write_bytes(b"\xff\xfe\x00\xd8"), UniAudioError, "not YAML"),
    "other YAML": (lambda f: (f / "config.yaml").write_text("[1, 2]"), UniAudioError, "no 'generator.config'"),
    "no width": (
        lambda f: arguments_edited(f, encoder_dim=None),
        UniAudioError,
        "'encoder_dim' must be a whole number",
    ),
    "rates of words": (lambda f: arguments_edited(f, encoder_rates=["3"]), UniAudioError, "'encoder_rates' must be"),
    "noise of numbers": (lambda f: arguments_edited(f, noise=1), UniAudioError, "'noise' must be true or false"),
    "no linear layer": (
        lambda f: arguments_edited(f, use_cblinear=False),
        UniAudioError,
        "'use_cblinear' must be true",
    ),
    "another width": (
        lambda f: arguments_edited(f, encoder_dim=16, latent_dim=256),
        UniAudioError,
        r"encoder.block.*\[.*\], but .*config.yaml needs floats \[",
    ),
    "another hop": (
        lambda f: arguments_edited(f, decoder_rates=[8, 5, 4, 2]),
        UniAudioError,
        "hop is 480 samples and the decoder's 320",
    ),
    "odd attention": (lambda f: arguments_edited(f, decoder_dim=96), UniAudioError, "multiple of 64"),
    "one more level": (
        lambda f: arguments_edited(f, vq_strides=[8, 4, 2, 1]),
        UniAudioError,
        "no matrix quantizer.quantizers.3.codebook.weight",
    ),
    "one level fewer": (
        lambda f: arguments_edited(f, vq_strides=[2, 1]),
        UniAudioError,
        r"3 unexpected \(quantizer.quantizers.2.cb_proj.bias, .*, \.\.\.\)",
    ),
    "a tensor fewer": (
        lambda f: state_edited(f, lambda state: state.pop("encoder.block.0.weight_g")),
        UniAudioError,
        r"1 missing \(encoder.block.0.weight\), 1 unexpected \(encoder.block.0.weight_v\)",
    ),
    "a tensor more": (
        lambda f: state_edited(f, lambda state: state.update(optimiser=torch.zeros(1))),
        UniAudioError,
        r"1 unexpected \(optimiser\)",
    ),
    "whole numbers": (
        lambda f: state_edited(f, lambda state: state.update({"encoder.block.0.bias": torch.zeros(8).long()})),
        UniAudioError,
        r"encoder.block.0.bias is torch.int64 \[8\]",
    ),
    "no words": (lambda f: (f / "words.npy").unlink(), MissingWeightsError, "level 0 has 60 words of its own"),
    "too few words": (lambda f: np.save(f / "words.npy", np.array(WORDS[1:])), UniAudioError, "59 words"),
    "words that are numbers": (
        lambda f: np.save(f / "words.npy", np.arange(60)),
        MissingWeightsError,
        "no .npy of them",
    ),
    "two files of words": (lambda f: np.save(f / "b.npy", np.array(WORDS)), UsageError, r"\(b.npy, words.npy\)"),
}


def one_clear_line(error, folder):
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(str(folder))


@pytest.mark.parametrize("case", BAD_PUBLISHED)
def test_bad_published_files(tmp_path, case):
    spoil, error, message = BAD_PUBLISHED[case]
    checkpoint = tiny_published(tmp_path)
    spoil(tmp_path)
    with pytest.raises(UniAudioError, match=message) as caught:
        load_codec(checkpoint)
    assert type(caught.value) is error
    one_clear_line(caught, tmp_path)


@pytest.mark.parametrize("argument", ["config", "words"])
def test_named_files_that_are_not_there(tmp_path, argument):
    checkpoint = tiny_published(tmp_path)
    with pytest.raises(MissingWeightsError, match=r"nowhere\.x: no such file"):
        load_codec(checkpoint, **{argument: tmp_path / "nowhere.x"})


def described(folder, **changes):
    """Change the JSON's fields."""
    data = json.loads((folder / "a.json").read_text()) | changes
    (folder / "a.json").write_text(json.dumps(data))


def stored(folder, **changes):
    """Change the weights; dots in names are written as two underscores."""
    state = load_file(folder / "a.safetensors")
    save_file(state | {name.replace("__", "."): value for name, value in changes.items()}, folder / "a.safetensors")


BAD_OWN = {
    "no weights": (lambda f: (f / "a.safetensors").unlink(), MissingWeightsError, "a.safetensors: no such file"),
    "no JSON": (lambda f: (f / "a.json").unlink(), MissingWeightsError, "a.json: no such file"),
    "cut short": (lambda f: cut(f / "a.safetensors"), UniAudioError, "a.safetensors: broken"),
    "empty": (lambda f: (f / "a.safetensors").write_bytes(b""), UniAudioError, "a.safetensors: broken"),
    "broken JSON": (lambda f: (f / "a.json").write_text("{"), UniAudioError, "a.json: not JSON"),
    "other JSON": (lambda f: (f / "a.json").write_text("[]"), UniAudioError, "no 'format'"),
    "later format": (
        lambda f: described(f, format=2),
        UniAudioError,
        "is of format 2, and this version reads format 1",
    ),
    "unknown key": (
        lambda f: described(f, stride=[4]),
        UniAudioError,
        r"unknown key 'stride' \(did you mean 'strides'",
    ),
    "no size": (lambda f: described(f, sizes=[]), UniAudioError, "'sizes' must be"),
    "another architecture": (lambda f: described(f, architecture="large"), UniAudioError, "published, small"),
    "a negative rate": (lambda f: described(f, sample_rate=-1), UniAudioError, "'sample_rate' must be"),
    "a rate of true": (lambda f: described(f, sample_rate=True), UniAudioError, "'sample_rate' must be"),
    "fewer words": (
        lambda f: described(f, words=[["a"], None, None]),
        UniAudioError,
        "'words' must be 60 strings or null on level 0",
    ),
    "fewer levels": (lambda f: described(f, words=[None]), UniAudioError, "'words' must be a list as long as"),
    "fewer strides": (lambda f: described(f, strides=[4, 2]), UniAudioError, "'strides' must be as long as"),
    "an infinite level": (lambda f: described(f, level_db=float("inf")), UniAudioError, "'level_db' must be"),
    "an encoder of level 0 that is a list": (
        lambda f: described(f, coarse_encoder=[1]),
        UniAudioError,
        "'coarse_encoder' must be a mapping",
    ),
    "an encoder of level 0 beside the published ones": (
        lambda f: described(f, coarse_encoder=SMALL_ENCODER, architecture="published"),
        UniAudioError,
        "'coarse_encoder' must be left out with the published",
    ),
    "another hop": (lambda f: described(f, hop_length=320), UniAudioError, "hop of 480, not 320"),
    "a NaN": (
        lambda f: stored(f, encoder__out__bias=torch.full((32,), float("nan"))),
        UniAudioError,
        r"encoder.out.bias holds 32 values that are NaN or infinite",
    ),
    "an infinite code vector": (
        lambda f: stored(f, quantizer__quantizers__1__projected=torch.full((VOCAB, 32), float("inf"))),
        UniAudioError,
        r"quantizer.quantizers.1.projected holds 10240 values",
    ),
    "unknown arguments": (lambda f: described(f, encoder={"depth": 3}), UniAudioError, "no codec that can be built"),
    "another width": (lambda f: described(f, latent_dim=64), UniAudioError, r"needs floats \[60, 64\]"),
    "a word more": (
        lambda f: described(f, sizes=[61, VOCAB, VOCAB], words=[None] * 3),
        UniAudioError,
        r"projected is torch.float32 \[60, 32\], but .*a.json needs floats \[61, 32\]",
    ),
    "a tensor more": (lambda f: stored(f, extra=torch.zeros(1)), UniAudioError, r"1 unexpected \(extra\)"),
    "a wrong tensor": (
        lambda f: stored(f, encoder__out__bias=torch.zeros(3)),
        UniAudioError,
        r"encoder.out.bias is torch.float32 \[3\]",
    ),
}


@pytest.mark.parametrize("case", BAD_OWN)
def test_bad_own_files(tmp_path, case):
    spoil, error, message = BAD_OWN[case]
    path = save_codec(small_codec(), tmp_path / "a.safetensors", inference=True)
    spoil(tmp_path)
    with pytest.raises(UniAudioError, match=message) as caught:
        load_codec(path if path.exists() else tmp_path / "a.json")
    assert type(caught.value) is error
    one_clear_line(caught, tmp_path)


def test_json_that_lacks_a_key(tmp_path):
    path = save_codec(small_codec(), tmp_path / "a.safetensors")
    data = json.loads((tmp_path / "a.json").read_text())
    for key in data.keys() - {"level_db"}:
        (tmp_path / "a.json").write_text(json.dumps({name: value for name, value in data.items() if name != key}))
        with pytest.raises(UniAudioError, match=re.escape(str(tmp_path / "a.json"))):
            load_codec(path)


def test_folders_without_one_codec(tmp_path):
    with pytest.raises(MissingWeightsError, match="no codec in this folder"):
        load_codec(tmp_path)
    for name in ("a", "b"):
        save_codec(small_codec(), tmp_path / f"{name}.safetensors")
    with pytest.raises(UsageError, match=r"more than one codec in this folder \(a.safetensors, b.safetensors\)"):
        load_codec(tmp_path)


def test_arguments_that_do_not_fit(tmp_path):
    with pytest.raises(UsageError, match=r"must be called NAME.safetensors"):
        save_codec(small_codec(), tmp_path / "a.pth")
    path = save_codec(small_codec(), tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match="holds its own words"):
        load_codec(path, words=tmp_path / "words.npy")
    (tmp_path / "a.json").rename(tmp_path / "elsewhere.json")
    assert same(load_codec(path, config=tmp_path / "elsewhere.json"), small_codec())

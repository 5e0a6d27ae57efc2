"""`uniaudio codec`: round trips, words, and files that are no codes."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.cli.test_bad_clips import BAD, EMPTY, ODD, batch
from tests.cli.world import CLIP, RATE, WORDS, write, write_samples
from tests.factories import tiny_published
from uniaudio_cli.audio.io import read_wav
from uniaudio_cli.audio.transforms import level_db
from uniaudio_cli.cli.words import shared_runs
from uniaudio_cli.codec.checkpoint.loading import load_codec

FINE = (*EMPTY, *ODD)


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    return tiny_published(tmp_path_factory.mktemp("published"))


@pytest.fixture
def checkpoint(world, published, request) -> Path:
    return {"small": world.codec, "published": published}[request.param]


BOTH = pytest.mark.parametrize("checkpoint", ["small", "published"], indirect=True)


@BOTH
def test_decoding_what_was_encoded_is_reconstructing(uniaudio, checkpoint):
    write(Path("in/a.wav"), 0, 5 * CLIP + 7)
    write(Path("in/deep/b.wav"), 1, 100)
    write_samples(Path("in/silent.wav"), np.zeros(CLIP))
    flags = ("--codec", checkpoint)
    names = ["a", "deep/b", "silent"]
    for command, given, output, suffix in (
        ("encode", "in", "codes", ".json"),
        ("decode", "codes", "decoded", ".wav"),
        ("reconstruct", "in", "straight", ".wav"),
    ):
        done = uniaudio("codec", command, given, "-o", output, *flags)
        assert (done.code, done.out) == (0, "")
        assert done.err.splitlines() == [f"{output}/{name}{suffix}" for name in names]
        done = uniaudio("codec", command, given, "-o", output, *flags, "--json", "--force", "--quiet")
        assert [row["output"] for row in done.rows] == [f"{output}/{name}{suffix}" for name in names]
    for name in names:
        assert Path(f"decoded/{name}.wav").read_bytes() == Path(f"straight/{name}.wav").read_bytes()
        assert read_wav(Path(f"decoded/{name}.wav"), RATE).shape == read_wav(Path(f"in/{name}.wav"), RATE).shape
    assert read_wav(Path("decoded/silent.wav"), RATE).abs().max() == 0


@BOTH
def test_codes_are_json(uniaudio, checkpoint):
    write(Path("a.wav"), samples=4 * CLIP)
    uniaudio("codec", "encode", "a.wav", "-o", "out", "--codec", checkpoint)
    stored = json.loads(Path("out/a.json").read_text())
    codec = load_codec(checkpoint)
    assert list(stored) == ["codec", "samples", "gain", "codes"]
    assert (stored["codec"], stored["samples"]) == (str(checkpoint), 4 * CLIP)
    assert (stored["gain"] == 1) == (codec.config.level_db is None)
    assert [len(row) for row in stored["codes"]] == [codec.frames(4 * CLIP) // stride for stride in codec.strides]
    for row, size in zip(stored["codes"], codec.config.sizes, strict=True):
        assert 0 <= min(row) <= max(row) < size


def test_a_reconstruction_is_as_loud_as_the_clip_whatever_its_level(world, uniaudio):
    """A clip with one loud click cannot be brought to the codec's level: the click is in the way."""
    samples = 0.01 * np.sin(np.arange(4 * CLIP) / 5)
    clicked = samples.copy()
    clicked[100] = 0.9
    for name, clip in (("quiet", samples), ("loud", 50 * samples), ("clicked", clicked)):
        write_samples(Path(f"{name}.wav"), clip)
        assert uniaudio("codec", "encode", f"{name}.wav", "-o", ".", "--codec", world.codec).code == 0
    gains = {name: json.loads(Path(f"{name}.json").read_text())["gain"] for name in ("quiet", "loud", "clicked")}
    assert gains["quiet"] == pytest.approx(50 * gains["loud"], rel=1e-3)
    assert gains["clicked"] == pytest.approx(0.99 / 0.9, rel=1e-3)
    wav = read_wav(Path("quiet.wav"), RATE)
    assert level_db(wav * gains["quiet"], RATE) == pytest.approx(-23, abs=0.01)


def test_the_seed_is_of_the_decoders_noise(uniaudio, published):
    write(Path("a.wav"))
    for seed in (0, 1):
        uniaudio("codec", "reconstruct", "a.wav", "-o", f"out{seed}", "--seed", seed, "--codec", published)
    assert Path("out0/a.wav").read_bytes() != Path("out1/a.wav").read_bytes()


@pytest.mark.parametrize("command", ["encode", "reconstruct", "words"])
def test_bad_clips_cost_the_others_nothing(world, uniaudio, tmp_path, command):
    makers = [maker for pair in zip(BAD, [*FINE, FINE[0]], strict=True) for maker in pair][:-1]
    files = batch(tmp_path / "clips", *makers)
    output = ("--json",) if command == "words" else ("-o", "out", "--json")
    done = uniaudio("codec", command, *files, *output, "--codec", world.codec)
    assert (done.code, len(done.complaints)) == (3, len(BAD))
    assert len(done.out.splitlines()) == len(FINE)
    if command != "words":
        assert [Path(row["output"]).stem for row in done.rows] == [maker.__name__ for maker in FINE]
        assert len(list(Path("out").iterdir())) == len(FINE)


GOOD = {"codec": "x", "samples": 100, "gain": 1.0, "codes": [[0], [0, 1], [0, 1, 2, 3]]}
NO_CODES = {
    "no JSON": "{",
    "not UTF-8": b"\xff",
    "no object": "[]",
    "no codes": {"samples": 100, "gain": 1.0},
    "no samples": {**GOOD, "samples": None},
    "too many samples": {**GOOD, "samples": 10_000},
    "fewer than no samples": {**GOOD, "samples": -1},
    "words for codes": {**GOOD, "codes": [["a"], [0, 1], [0, 1, 2, 3]]},
    "fractions for codes": {**GOOD, "codes": [[0.5], [0, 1], [0, 1, 2, 3]]},
    "huge codes": {**GOOD, "codes": [[10**30], [0, 1], [0, 1, 2, 3]]},
    "another codec's codes": {**GOOD, "codes": [[99], [0, 1], [0, 1, 2, 3]]},
    "uneven levels": {**GOOD, "codes": [[0], [0], [0]]},
    "no level": {**GOOD, "codes": []},
    "empty levels": {**GOOD, "codes": [[], [], []]},
    "a number": {**GOOD, "codes": 3},
    "levels in levels": {**GOOD, "codes": [[[0]], [0, 1], [0, 1, 2, 3]]},
    "no gain": '{"samples": 100, "gain": NaN, "codes": [[0], [0, 1], [0, 1, 2, 3]]}',
    "a gain below 0": {**GOOD, "gain": -1},
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("wrong", NO_CODES)
def test_what_is_no_codes_is_one_line(world, uniaudio, wrong):
    content = NO_CODES[wrong]
    content = json.dumps(content) if isinstance(content, dict) else content
    Path("bad.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    uniaudio("codec", "decode", "bad.json", "-o", "out", "--codec", world.codec).is_error(1, "bad.json: not codes of")
    Path("good.json").write_text(json.dumps(GOOD))
    done = uniaudio("codec", "decode", "bad.json", "good.json", "nope.json", "-o", "out", "--codec", world.codec)
    assert (done.code, done.out, len(done.err.splitlines())) == (3, "", 3)
    assert "\nout/good.wav\n" in done.err


def test_one_input_may_have_a_file(world, uniaudio):
    write(Path("a.wav"))
    flags = ("--codec", world.codec, "--json")
    for command, given, output in (
        ("encode", "a.wav", "new/x.json"),
        ("decode", "new/x.json", "y.wav"),
        ("reconstruct", "a.wav", "z.flac"),
    ):
        (row,) = uniaudio("codec", command, given, "-o", output, *flags).rows
        assert row == {"file": given, "output": output}
        assert Path(output).is_file()


def test_wrong_commands(world, uniaudio):
    clip = write(Path("a/clip.wav"))
    write(Path("b/clip.wav"))
    Path("a/clip.flac").symlink_to(clip.absolute())
    Path("full").mkdir()
    for command in ("encode", "reconstruct"):
        uniaudio("codec", command, "nope/*.wav", "-o", "out").is_error(2, "this pattern holds no audio file")
        uniaudio("codec", command, "a/clip.wav", "b/clip.wav", "-o", "out").is_error(2, "would both be written to")
        uniaudio("codec", command, clip, "-o", clip / "out").is_error(2, "is not a folder")
        uniaudio("codec", command, clip, "-o", "out", "--device", "warp").is_error(2, "device 'warp'")
        for stdout in ("-", "/dev/stdout"):
            uniaudio("codec", command, clip, "-o", stdout).is_error(2, f"--output {stdout}: names a file or a folder")
    uniaudio("codec", "encode", "a", "-o", "x.json").is_error(2, "x.json: is one file, and there are 2 inputs")
    uniaudio("codec", "encode", clip, "-o", "x.wav").is_error(2, "codes are written as .json")
    uniaudio("codec", "reconstruct", clip, "-o", "x.mp3").is_error(2, "audio is written as .wav, .flac, .ogg")
    for command in ("encode", "reconstruct", "eval", "words"):
        output = () if command in ("eval", "words") else ("-o", "out")
        uniaudio("codec", command, "nope.wav", *output).is_error(2, "nope.wav: no such file")
    uniaudio("codec", "decode", "nope.json", "-o", "out").is_error(2, "nope.json: no such file")
    uniaudio("codec", "encode", "a", "-o", "out").is_error(2, "would both be written to out/clip.json")
    uniaudio("codec", "decode", "full", "-o", "out").is_error(2, "full: holds no .json of codes")
    uniaudio("codec", "reconstruct", clip, "-o", "a").is_error(2, "a/clip.wav: already exists")
    done = uniaudio("codec", "reconstruct", clip, "-o", "a", "--force", "--codec", world.codec)
    assert (done.code, done.err) == (0, "a/clip.wav\n")
    uniaudio("codec", "info", "nope").is_error(2, "no codec 'nope'")
    uniaudio("codec", "words", clip, "--codec", world.codec, "--lm", "nope").is_error(2, "no LLM 'nope'")
    uniaudio("codec", "words", clip, "--codec", world.codec, "--levels", "0,9").is_error(2, "--levels 9", "tags")
    uniaudio("codec", "convert", "nope.pth", "-o", "x.safetensors").is_error(4, "nope.pth: no such file")
    uniaudio("codec", "convert", world.codec, "-o", "x.pth").is_error(2, "must be called NAME.safetensors")
    uniaudio("codec", "train", "nope.yaml", "-o", "run").is_error(2, "nope.yaml: cannot be read")
    Path("recipe.yaml").write_text("name: x\nstep: 3\n")
    uniaudio("codec", "train", "recipe.yaml", "-o", "run").is_error(2, "'step' (did you mean 'steps'?)")
    assert not Path("out").exists()
    assert not Path("run").exists()


def test_words_are_the_codecs_own(world, uniaudio):
    files = [write(Path("a.wav"), 0), write(Path("b.wav"), 1)]
    done = uniaudio("codec", "words", *files, "--json", "--codec", world.codec, "--levels", "prosody")
    assert [list(row) for row in done.rows] == [["file", "prosody", "levels"]] * 2
    assert [row["file"] for row in done.rows] == ["a.wav", "b.wav"]
    for row in done.rows:
        assert [len(level) for level in row["levels"]] == [2, 4, 8]
        for level, words in zip(row["levels"], WORDS, strict=True):
            assert set(level) <= set(words)


def test_words_of_published_acoustic_codes_are_numbers_or_an_llms(world, uniaudio, published):
    write(Path("a.wav"))
    (row,) = uniaudio("codec", "words", "a.wav", "--json", "--codec", published).rows
    assert all(word.isdigit() for level in row["levels"][1:] for word in level)
    done = uniaudio("codec", "words", "a.wav", "--json", "--codec", published, "--lm", world.lm)
    assert not all(word.isdigit() for level in done.rows[0]["levels"][1:] for word in level)


def test_words_are_one_line_a_clip(world, uniaudio):
    files = [write(Path("a.wav"), 0), write(Path("b.wav"), 1)]
    done = uniaudio("codec", "words", *files, "--codec", world.codec, "--levels", "prosody,0")
    assert [line.split("\t")[0] for line in done.out.splitlines()] == ["file", "a.wav", "b.wav"]
    assert all(len(line.split("\t")) == 3 for line in done.out.splitlines())
    assert done.out.splitlines()[0].endswith("prosody\tlevel 0")


def test_words_stand_in_columns(world, uniaudio, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    done = uniaudio(
        "codec",
        "words",
        write(Path("a.wav"), samples=8 * CLIP),
        write(Path("b.wav")),
        "--codec",
        world.codec,
        "--align",
        *("--levels", "0,1,2"),
    )
    assert done.out.count("level ") == 3
    for block in done.out.split("level ")[1:]:
        lines = [line for line in block.splitlines()[1:] if not line.strip().endswith(".wav")]
        width = max(map(len, WORDS[int(block[0])])) + 1
        for line in lines:
            assert len(line) <= 60
            cells = [line[start : start + width] for start in range(2, len(line), width)]
            assert all(cell.strip() in WORDS[int(block[0])] for cell in cells if cell.strip())
            assert all(cell[0] != " " for cell in cells if cell.strip())


@pytest.mark.parametrize(
    ("rows", "run", "marks"),
    [
        ([["a", "b", "c"], ["x", "a", "b"]], 2, [[True, True, False], [False, True, True]]),
        ([["a", "b", "c"], ["x", "a", "b"]], 3, [[False] * 3] * 2),
        ([["a", "b", "a", "b"], ["c"]], 2, [[False] * 4, [False]]),
        ([["a", "b", "c"], ["a", "b", "c"], ["b", "c"]], 2, [[True] * 3, [True] * 3, [True] * 2]),
        ([[], ["a"]], 2, [[], [False]]),
        ([], 2, []),
    ],
)
def test_shared_runs(rows, run, marks):
    assert shared_runs(rows, run) == marks


@BOTH
def test_info(world, uniaudio, checkpoint):
    done = uniaudio("codec", "info", checkpoint, "--json")
    (facts,) = done.rows
    codec = load_codec(checkpoint)
    assert facts["architecture"] == codec.config.architecture
    assert (facts["sample_rate"], facts["hop_length"], facts["strides"]) == (RATE, 480, [4, 2, 1])
    assert facts["codes"] == list(codec.config.sizes)
    assert facts["codes_per_second"] == pytest.approx(58.33)
    assert facts["level_words"][0] == list(codec.config.words[0][:5])
    assert facts["parameters"] == sum(p.numel() for part in (codec.encoder, codec.decoder) for p in part.parameters())
    plain = uniaudio("codec", "info", checkpoint).out.splitlines()
    assert [line.split("\t") for line in plain] == [[name, str(value)] for name, value in facts.items()]


def test_a_converted_codec_sounds_the_same(uniaudio, published):
    done = uniaudio("codec", "convert", published, "-o", "new/mine.safetensors")
    assert (done.code, done.out, done.err) == (0, "new/mine.safetensors\n", "")
    assert sorted(path.name for path in Path("new").iterdir()) == ["mine.json", "mine.safetensors"]
    uniaudio("codec", "convert", published, "-o", "new/mine.safetensors").is_error(2, "already exists")
    assert uniaudio("codec", "convert", published, "-o", "half.safetensors", "--half").code == 0
    assert Path("half.safetensors").stat().st_size < 0.8 * Path("new/mine.safetensors").stat().st_size
    write(Path("a.wav"))
    for name, codec in (("old", published), ("new", "new")):
        assert uniaudio("codec", "reconstruct", "a.wav", "-o", f"out-{name}", "--codec", codec).code == 0
    old, new = (soundfile.read(f"out-{name}/a.wav")[0] for name in ("old", "new"))
    np.testing.assert_allclose(old, new, atol=1e-3)

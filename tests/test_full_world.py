"""The paper's whole world, small: the published files, LLaMA's tokenizer and architecture, and all three commands."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from tests.factories import chirps, tiny_published
from tests.small_lms import tiny_llama
from tests.small_tokenizers import WORDS, sentencepiece_model
from uniaudio_cli.cli.main import app, main

RATE = 16_000
PIECES = 32_000
# 8 latent frames, which the published attention takes at a time: two codes of level 0.
GROUP = 3_840


def write(path: Path, seed: int, samples: int = GROUP, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, chirps(samples, seed)[0, 0].numpy(), rate)
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """codec/checkpoint.pth, lm/, and demonstrations for each command; queries/ with clips of several lengths."""
    root = tmp_path_factory.mktemp("full")
    tiny_published(root / "codec", WORDS, vocab=PIECES)
    tiny_llama(PIECES, context=2048).save_pretrained(root / "lm")
    shutil.copy(sentencepiece_model(), root / "lm" / "tokenizer.model")
    for number, label in enumerate(("dog", "dog barking", "rain")):
        for shot in range(2):
            write(root / "labels" / label / f"{shot}.wav", 10 * number + shot)
    for number, digit in enumerate(("one", "two", "three")):
        write(root / "digits" / digit / "a.wav", 40 + number, (number + 1) * GROUP)
    for number in range(2):
        write(root / "pairs" / "noisy" / f"{number}.wav", 50 + number)
        write(root / "pairs" / "clean" / f"{number}.wav", 60 + number)
    write(root / "queries" / "short.wav", 70, 400)
    write(root / "queries" / "deep" / "two windows.flac", 71, 20_000)
    write(root / "queries" / "deep" / "phone.wav", 72, 4_001, rate=8_000)
    return root


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]


@pytest.fixture(params=DEVICES)
def models(request, place) -> list[str]:
    """The flags that name this world's models."""
    parts = {"--codec": place / "codec" / "checkpoint.pth", "--lm": place / "lm", "--device": request.param}
    return ["--offline", *(str(part) for flag in parts.items() for part in flag)]


def rows(*arguments: object) -> list[dict]:
    """What the command printed: JSON, a line an answer."""
    done = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def samples(path: Path) -> np.ndarray:
    """The samples of what was written, which is mono, 16 bits, at the codec's rate."""
    about = soundfile.info(path)
    assert (about.samplerate, about.channels, about.subtype) == (RATE, 1, "PCM_16")
    found, _ = soundfile.read(path, dtype="float32")
    assert np.isfinite(found).all()
    return found


def test_all_three_commands(place, models, tmp_path):
    files = [place / "queries" / "short.wav", place / "labels" / "rain" / "0.wav"]
    for flags in (
        ["--readout", "likelihood"],
        ["--readout", "label"],
        ["--readout", "label", "--levels", "0,1,2", "--shots", 1],
    ):
        labelled = rows("classify", *files, "--demos", place / "labels", *models, *flags)
        assert [row["file"] for row in labelled] == [*map(str, files)]
        for row in labelled:
            assert list(row) == ["file", "label", "scores", "margin", "seconds"]
            assert sorted(row["scores"]) == ["dog", "dog barking", "rain"]
            assert sum(row["scores"].values()) == pytest.approx(1, abs=1e-5)
            assert row["label"] == next(iter(row["scores"])) == max(row["scores"], key=row["scores"].get)
            assert row["seconds"] >= 0

    spoken = tmp_path / "said.wav"
    asking = ["tts", "two", "--demos", place / "digits", "--output", spoken, "--json", *models]
    (said,) = rows(*asking)
    assert list(said) == ["text", "answer", "probability", "confident", "output", "seconds"]
    assert (said["text"], said["output"]) == ("two", str(spoken))
    assert said["answer"] == "two"
    assert len(samples(spoken)) == 2 * GROUP  # as long as the demonstration
    assert np.abs(samples(spoken)).max() > 0
    before = spoken.read_bytes()
    rows(*asking, "--force")
    assert spoken.read_bytes() == before

    flags = ["--demos", place / "pairs", "--output", tmp_path / "clean", "--set", "repeats=1", "--json"]
    cleaned = rows("run", "resynthesis", place / "queries", *flags, *models)
    assert [list(row) for row in cleaned] == [["file", "output", "seconds"]] * 3
    written = {Path(row["output"]).relative_to(tmp_path / "clean"): row["file"] for row in cleaned}
    lengths = {"deep/phone.wav": 8_002, "deep/two windows.flac": 20_000, "short.wav": 400}
    assert {str(path): len(samples(tmp_path / "clean" / path)) for path in written} == lengths
    assert all(file == str(place / "queries" / path) for path, file in written.items())


TASK = """\
name: mine
description: The published prompt, id for id
input: audio
output: label
template: reference
instruction: For each of the following input output pairs, output is one of [{labels}]
levels: [0, 1]
clip: {seconds: 0.24}
readout: label
"""


def test_the_published_prompt(place, models, tmp_path):
    """A task of one's own in the published scripts' format, whose prompt begins as LLaMA's do."""
    task = tmp_path / "mine.yaml"
    task.write_text(TASK)
    command = ["run", task, place / "queries" / "short.wav", "--demos", place / "labels", *models]
    (row,) = rows(*command)
    assert sum(row["scores"].values()) == pytest.approx(1, abs=1e-5)
    shown = CliRunner().invoke(app, [*map(str, command), "--show-prompt"], catch_exceptions=False).stdout
    assert "output is one of ['dog' or 'dog barking' or 'rain']" in shown
    assert shown.count("###\nInput: < ") == 4
    assert shown.rstrip().endswith("tokens in all")


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        ([], 3, "bad.wav: cannot be read as audio"),
        (["--levels", "0,3"], 2, "level 3: this codec has levels 0 to 2"),
        (["--set", "repeats=100"], 2, "context holds 2048"),
        (["--lm", "nobody/no-such-model"], 4, "nobody/no-such-model"),
        (["--codec", "gone.pth"], 2, "gone.pth"),
        (["--labels", "dog,cat"], 2, "'cat'"),
    ],
)
def test_exit_codes(place, models, tmp_path, monkeypatch, capfd, flags, code, message):
    """One line for people, nothing but data on stdout."""
    good, bad = place / "queries" / "short.wav", tmp_path / "bad.wav"
    bad.write_text("no audio")
    monkeypatch.chdir(tmp_path)
    arguments = ["classify", good, bad, "--demos", place / "labels", "--readout", "likelihood", *models, *flags]
    monkeypatch.setattr(sys, "argv", ["uniaudio", *map(str, arguments)])
    capfd.readouterr()
    with pytest.raises(SystemExit) as left:
        main()
    out, err = capfd.readouterr()
    assert left.value.code == code
    labelled = [row["file"] for row in map(json.loads, out.splitlines()) if "label" in row]
    assert labelled == ([str(good)] if code == 3 else [])
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == (2 if code == 3 else 1)

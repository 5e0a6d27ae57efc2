"""`uniaudio enhance`: the filter from the command line."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from uniaudio_cli.inference import gains

RATE = 22_050


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Fewer mixtures, steps, bins and trees than usual."""
    monkeypatch.setattr(gains, "MIXTURES", 4)
    monkeypatch.setattr(gains, "STEPS", 5)
    monkeypatch.setattr(gains, "ROWS", 5_000)
    monkeypatch.setattr(gains, "TREES", 10)


@pytest.fixture
def noisy(tmp_path) -> Path:
    """A stereo recording of half a second with noise."""
    rng = np.random.default_rng(0)
    tone = np.sin(2 * np.pi * 200 * np.arange(RATE // 2) / RATE)
    wav = 0.1 * np.stack([tone, tone / 2]) + 0.01 * rng.standard_normal((2, RATE // 2))
    soundfile.write(tmp_path / "noisy.wav", wav.T, RATE)
    return tmp_path / "noisy.wav"


@pytest.fixture
def pairs(tmp_path) -> Path:
    rng = np.random.default_rng(1)
    for side in ("noisy", "clean"):
        (tmp_path / "pairs" / side).mkdir(parents=True)
    for n in range(3):
        clean = 0.1 * np.sin(2 * np.pi * (150 + 50 * n) * np.arange(8_000) / 16_000)
        soundfile.write(tmp_path / "pairs" / "clean" / f"{n}.wav", clean, 16_000)
        soundfile.write(tmp_path / "pairs" / "noisy" / f"{n}.wav", clean + 0.02 * rng.standard_normal(8_000), 16_000)
    return tmp_path / "pairs"


def test_a_recording_keeps_its_rate_channels_and_length(uniaudio, noisy, tmp_path):
    done = uniaudio("enhance", noisy, "-o", tmp_path / "clean.flac", "--json")
    assert done.code == 0
    row = json.loads(done.out)
    assert (row["file"], row["output"]) == (str(noisy), str(tmp_path / "clean.flac"))
    made, rate = soundfile.read(tmp_path / "clean.flac")
    assert (made.shape, rate) == ((RATE // 2, 2), RATE)
    assert 0 < np.square(made).sum() < np.square(soundfile.read(noisy)[0]).sum()


def test_pairs_are_learnt_from(uniaudio, noisy, pairs, tmp_path):
    outputs = []
    for name, flags in (("a", ()), ("b", ("--demos", pairs)), ("c", ("--demos", pairs, "--shots", 2))):
        done = uniaudio("enhance", noisy, *flags, "-o", tmp_path / f"{name}.wav")
        assert done.code == 0
        assert ("2 of 3 pairs are used" in done.err) == (name == "c")
        outputs.append((tmp_path / f"{name}.wav").read_bytes())
    assert len(set(outputs)) == 3


def test_no_strength_leaves_the_input_alone(uniaudio, noisy, tmp_path):
    assert uniaudio("enhance", noisy, "--strength", 0, "-o", tmp_path / "same.wav", "--quiet").code == 0
    made, given = (soundfile.read(path)[0] for path in (tmp_path / "same.wav", noisy))
    np.testing.assert_allclose(made, given, atol=1e-4)


def test_folders_are_mirrored_and_bad_files_passed_over(uniaudio, noisy, tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    noisy.rename(tmp_path / "in" / "deep" / "a.wav")
    (tmp_path / "in" / "bad.wav").write_text("no audio")
    done = uniaudio("enhance", tmp_path / "in", "-o", tmp_path / "out")
    assert done.code == 3
    assert "bad.wav: cannot be read as audio" in done.err
    assert (tmp_path / "out" / "deep" / "a.wav").is_file()
    assert not (tmp_path / "out" / "bad.wav").exists()


def test_audio_to_stdout(uniaudio, noisy, monkeypatch):
    class Out(io.BytesIO):
        @property
        def buffer(self):
            return self

    out = Out()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        assert uniaudio("enhance", noisy, "-o", "-", "-q").code == 0
    made, rate = soundfile.read(io.BytesIO(out.getvalue()))
    assert (made.shape, rate) == ((RATE // 2, 2), RATE)


def test_what_is_refused(uniaudio, noisy, pairs, tmp_path):
    uniaudio("enhance", noisy).is_error(2, "say where with --output")
    uniaudio("enhance", "gone.wav", "-o", "x.wav").is_error(2, "gone.wav: no such file")
    uniaudio("enhance", noisy, "-o", noisy).is_error(2, "already exists")
    uniaudio("enhance", noisy, "-o", "x.mp3").is_error(2, "audio is written as")
    uniaudio("enhance", noisy, "-o", "x.wav", "--demos", tmp_path / "gone").is_error(2, "gone")
    uniaudio("enhance", noisy, "-o", "x.wav", "--strength", 2).is_error(2, "--strength")
    uniaudio("enhance", noisy, noisy.parent / "pairs", "-o", "x.wav").is_error(2, "name a folder")

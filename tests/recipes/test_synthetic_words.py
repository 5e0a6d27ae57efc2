"""The recipe that makes words by synthetic voices: what is drawn, and going on where it was stopped."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from uniaudio_cli.data.manifest import listing

RECIPE = runpy.run_path(str(Path(__file__).parents[2] / "recipes" / "synthetic_words.py"))
WORDS = ("river", "stone")


class Hum:
    """A synthesiser that hums: as long as the text, as high as the voice."""

    styles = np.random.default_rng(0).standard_normal((5, 20, 256)).astype(np.float32)

    def __init__(self) -> None:
        self.spoken: list[str] = []

    def __call__(self, text, voice, speed):
        self.spoken.append(text)
        time = np.arange(int(1_600 * len(text) / speed)) / 16_000
        return 0.3 * np.sin(2 * np.pi * 150 * voice.pitch * time).astype(np.float32)


def test_clips_are_listed_by_voice_as_the_packer_reads_them(tmp_path):
    hum = Hum()
    RECIPE["make"](tmp_path, range(12), 4, WORDS, 0, hum)
    rows = listing(tmp_path)
    assert len(rows) == 12 == len(hum.spoken)
    assert {row.group for row in rows} == {f"synthetic/{voice:03d}" for voice in range(4)}
    assert {row.kind for row in rows} == {"synthetic"}
    assert {row.split for row in rows} == {"train"}
    assert [row.text for row in rows] == hum.spoken


def test_a_run_that_was_stopped_makes_only_what_is_missing(tmp_path):
    whole, part, again = tmp_path / "whole", tmp_path / "part", Hum()
    RECIPE["make"](whole, range(8), 3, WORDS, 0, Hum())
    RECIPE["make"](part, range(5), 3, WORDS, 0, Hum())
    with (part / "metadata.jsonl").open("a") as file:
        file.write('{"file_name": "voice002/0000')
    RECIPE["make"](part, range(8), 3, WORDS, 0, again)
    assert len(again.spoken) == 3
    assert (part / "metadata.jsonl").read_text() == (whole / "metadata.jsonl").read_text()
    for row in map(json.loads, (whole / "metadata.jsonl").read_text().splitlines()):
        assert (part / row["file_name"]).read_bytes() == (whole / row["file_name"]).read_bytes()


def test_voices_differ_and_stay(monkeypatch):
    voices = [RECIPE["Voice"](Hum.styles, 0, number) for number in (0, 1, 0)]
    first, second, third = (voice.style(7) for voice in voices)
    assert first.shape == (1, 256)
    assert first.dtype == np.float32
    assert np.array_equal(first, third)
    assert not np.allclose(first, second)
    assert all(0.88 < voice.pitch < 1.13 for voice in voices)
    assert voices[0].timbre.sum() == pytest.approx(1)


def test_a_third_of_the_clips_is_digits():
    draw = np.random.default_rng(0)
    texts = [RECIPE["text_for"](draw, WORDS) for _ in range(2_000)]
    assert 0.3 < sum(text in RECIPE["DIGITS"] for text in texts) / len(texts) < 0.4
    assert {word for text in texts for word in text.split()} >= {*WORDS, *RECIPE["DIGITS"], "go", "twenty"}


@pytest.mark.parametrize("seconds", [0.0, 0.1, 3.5])
def test_what_went_wrong_is_left_out(tmp_path, seconds):
    class Broken(Hum):
        def __call__(self, text, voice, speed):
            return np.zeros(int(16_000 * seconds), np.float32)

    RECIPE["make"](tmp_path, range(3), 2, WORDS, 0, Broken())
    assert (tmp_path / "metadata.jsonl").read_text() == ""
    assert not list(tmp_path.glob("*/*.flac"))

"""benchmarks/choice.py on a small world, and benchmarks/moods.py without a voice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest

import uniaudio_cli
from tests.factories import chirps
from tests.kits import make_kit
from tests.scripts import script
from uniaudio_cli.audio.io import write_wav
from uniaudio_cli.data.episodes import are_recordings, load_items


@pytest.fixture(scope="module")
def choice() -> Iterator[ModuleType]:
    yield from script("choice")


@pytest.fixture(scope="module")
def moods() -> Iterator[ModuleType]:
    yield from script("moods")


def test_a_choice_that_was_stopped_is_gone_on_with(choice, tmp_path, monkeypatch, capsys):
    for digit in range(5):
        for take in range(9):
            write_wav(tmp_path / "fsdd" / f"{digit}_ann_{take}.wav", chirps(4_000, 10 * digit + take)[0], 16_000)
    monkeypatch.setattr(uniaudio_cli, "load", lambda *names, **options: make_kit(), raising=False)
    monkeypatch.setattr(choice, "half", lambda items, which: items)

    def main(out: str, *flags: object) -> tuple[int, str, str]:
        names = ["digits-same", "--data", tmp_path, "--out", tmp_path / out, *flags]
        code = choice.main(list(map(str, names)))
        return code, *capsys.readouterr()

    code, expected, _ = main("whole", "--episodes", 3)
    assert code == 0
    methods = ("likelihood", "nearest demonstration", "n-gram cache")
    assert all(f"| {shots} | {method} |" in expected for shots in (1, 2) for method in methods)
    main("part", "--episodes", 1)
    with (tmp_path / "part" / "digits-same.jsonl").open("a") as file:
        file.write('{"1 dr')
    assert main("part", "--episodes", 3)[:2] == (0, expected)
    rows = [json.loads(line) for line in (tmp_path / "part" / "digits-same.jsonl").read_text().splitlines()]
    assert [list(row) for row in rows[1:]] == 3 * [["1 draw", "1 spread", "2 draw", "2 spread"]]
    code, _, said = main("part", "--episodes", 3, "--seed", 1)
    assert (code, "is about something else" in said) == (2, True)


def test_the_moods_say_what_they_lack(moods, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert moods.main(["make", str(tmp_path / "moods")]) == 1
    assert "espeak-ng is not installed" in capsys.readouterr().err
    assert not (tmp_path / "moods").exists()
    assert moods.main(["table", str(tmp_path / "moods"), "--out", str(tmp_path / "x.jsonl")]) == 2
    assert "moods" in capsys.readouterr().err


def test_moods_are_clips_of_several_speakers_and_are_asked_about(moods, tmp_path, monkeypatch, capsys):
    def speak(text: str, voice: str, pitch: float, spread: float, rate: float) -> np.ndarray:
        return 0.1 * np.sin(2 * np.pi * (60 + 4 * pitch) * np.arange(1_600) / moods.RATE)

    monkeypatch.setattr(moods, "speak", speak)
    monkeypatch.setattr(shutil, "which", lambda name: name)
    for folder in ("a", "b"):
        assert moods.main(["make", str(tmp_path / folder), "--takes", "2"]) == 0
    items = load_items(tmp_path / "a")
    assert len(items) == 2 * len(moods.MOODS) * len(moods.VOICES)
    assert {item.label for item in items} == set(moods.MOODS)
    assert not are_recordings(items)
    made = [item.path.read_bytes() for item in items]
    assert made == [(tmp_path / "b" / item.path.relative_to(tmp_path / "a")).read_bytes() for item in items]
    assert len(set(made)) == len(items)
    assert moods.main(["make", str(tmp_path / "b")]) == 2
    assert "holds clips already" in capsys.readouterr().err

    monkeypatch.setattr(uniaudio_cli, "load", lambda *names, **options: make_kit(), raising=False)
    flags = ["table", str(tmp_path / "a"), "--episodes"]
    assert moods.main([*flags, "2", "--out", str(tmp_path / "whole.jsonl")]) == 0
    printed = capsys.readouterr().out
    names = ("level 0", "prosody", "prosody, level 0")
    assert all(f"| {name} | {method} |" in printed for name in names for method in ("likelihood", "n-gram cache"))
    assert moods.main([*flags, "1", "--out", str(tmp_path / "part.jsonl")]) == 0
    capsys.readouterr()
    assert moods.main([*flags, "2", "--out", str(tmp_path / "part.jsonl")]) == 0
    assert capsys.readouterr().out == printed
    assert moods.main([*flags, "2", "--seed", "1", "--out", str(tmp_path / "part.jsonl")]) == 2

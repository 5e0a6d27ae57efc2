"""The recipe that makes synthetic moods, with a stand-in for espeak-ng."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np

from uniaudio_cli.data.episodes import are_recordings, load_items

RECIPE = runpy.run_path(str(Path(__file__).parents[2] / "recipes" / "synthetic_moods.py"))


def test_moods_are_seeded_clips_of_several_voices(tmp_path, monkeypatch, capsys):
    def speak(text, voice, pitch, spread, rate):
        time = np.arange(int(16_000 * len(text) / rate)) / 16_000
        return 0.3 * np.sin(2 * np.pi * (100 + pitch) * time) * (1 + 0.1 * spread * np.sin(20 * time))

    main = RECIPE["main"]
    monkeypatch.setitem(main.__globals__, "speak", speak)
    monkeypatch.setattr("shutil.which", lambda name: name)
    assert main([str(tmp_path / "a"), "--takes", "2"]) == main([str(tmp_path / "b"), "--takes", "2"]) == 0
    items = load_items(tmp_path / "a")
    assert len(items) == 2 * len(RECIPE["MOODS"]) * len(RECIPE["VOICES"])
    assert {item.label for item in items} == set(RECIPE["MOODS"])
    assert not are_recordings(items)
    made = [item.path.read_bytes() for item in items]
    assert made == [(tmp_path / "b" / item.path.relative_to(tmp_path / "a")).read_bytes() for item in items]
    assert len(set(made)) == len(items)
    assert main([str(tmp_path / "b")]) == 2
    assert "holds clips already" in capsys.readouterr().err

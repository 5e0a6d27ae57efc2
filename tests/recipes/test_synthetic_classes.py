"""The recipe that makes clips of languages, accents, chords and calls, with a stand-in for espeak-ng."""

from __future__ import annotations

import numpy as np
import pytest

from recipes import synthetic_classes as recipe
from uniaudio_cli.data.episodes import are_recordings, load_items


@pytest.mark.parametrize("kind", recipe.KINDS)
def test_clips_are_seeded_and_have_groups(kind, tmp_path, monkeypatch, capsys):
    def speak(text, voice, pitch, spread, rate):
        time = np.arange(int(2_000 * len(text) / rate)) / 16_000
        return 0.3 * np.sin(2 * np.pi * (100 + pitch) * time)

    monkeypatch.setattr(recipe, "speak", speak)
    monkeypatch.setattr("shutil.which", lambda name: name)
    assert recipe.main([kind, str(tmp_path / "a"), "--takes", "1"]) == 0
    assert recipe.main([kind, str(tmp_path / "b"), "--takes", "1"]) == 0
    items = load_items(tmp_path / "a")
    _, labels, groups = recipe.KINDS[kind]
    assert len(items) == len(labels) * len(groups)
    assert {item.label for item in items} == set(labels)
    assert not are_recordings(items)
    for item in items:
        assert item.path.read_bytes() == (tmp_path / "b" / item.path.relative_to(tmp_path / "a")).read_bytes()
    assert recipe.main([kind, str(tmp_path / "b")]) == 2
    assert "holds clips already" in capsys.readouterr().err


def test_speech_needs_espeak(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert recipe.main(["accent", str(tmp_path / "a")]) == 1
    assert "espeak-ng is not installed" in capsys.readouterr().err

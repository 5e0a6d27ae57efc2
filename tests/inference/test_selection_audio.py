"""Selection strategies for tasks whose output is audio."""

from __future__ import annotations

import pytest

from tests.kits import (
    make_kit,
    speech_task,
)
from uniaudio_cli.data.demonstrations import Demonstration, choose
from uniaudio_cli.inference.encoder import AudioEncoder
from uniaudio_cli.inference.selection import STRATEGIES, select_demonstrations


def test_clearest_speech_selects_what_the_codec_keeps_best(clips, monkeypatch):
    kit = make_kit()
    takes = [Demonstration(clips / f"{n}.wav", text=text) for n, text in enumerate(["one"] * 4 + ["two"] * 3 + ["six"])]
    task = speech_task(selection="clearest_speech")
    near = {each.audio: kit.encoder.speech_similarity(each.audio, task.clip) for each in takes}
    assert len(set(near.values())) == len(takes)
    assert all(-1 <= value < 1 for value in near.values())
    for shots in (1, 2):
        picked = select_demonstrations(kit.encoder, task, takes, shots)
        for text in ("one", "two", "six"):
            best = sorted((each.audio for each in takes if each.text == text), key=near.__getitem__)[::-1][:shots]
            assert [each.audio for each in picked if each.text == text] == best
        assert {each.text for each in picked[:3]} == {"one", "two", "six"}  # in rounds of one take a text
    assert {each.text for each in select_demonstrations(kit.encoder, task, takes, 1, labels=["two"])} == {"two"}
    assert select_demonstrations(kit.encoder, speech_task(), takes, 1) == choose(takes, 1, 0)
    monkeypatch.setattr(AudioEncoder, "speech_similarity", lambda *_: pytest.fail("nothing to choose among"))
    assert len(select_demonstrations(kit.encoder, task, takes[-1:], 1)) == 1


def test_separable_selects_the_largest_margin(clips, monkeypatch):
    kit = make_kit()
    takes = [Demonstration(clips / f"{n}.wav", text=text) for n, text in enumerate(["one"] * 4 + ["two"] * 3 + ["six"])]
    task = speech_task(selection="separable")
    worth = STRATEGIES["separable"].worth(kit.encoder, task, takes, takes)
    assert len(set(worth.values())) > 4
    for shots in (1, 2):
        picked = select_demonstrations(kit.encoder, task, takes, shots)
        for text in ("one", "two", "six"):
            best = sorted((each for each in takes if each.text == text), key=worth.__getitem__)[::-1][:shots]
            assert [each for each in picked if each.text == text] == best
    assert {each.text for each in select_demonstrations(kit.encoder, task, takes, 1, labels=["two"])} == {"two"}
    monkeypatch.setattr(AudioEncoder, "reconstruct", lambda *_: pytest.fail("nothing to choose among"))
    assert len(select_demonstrations(kit.encoder, task, takes[-1:], 1)) == 1

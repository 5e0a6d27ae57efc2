"""Selection strategies for tasks whose output is audio."""

from __future__ import annotations

import numpy as np
import pytest

from tests.kits import (
    make_kit,
    speech_task,
)
from uniaudio_cli.data.demonstrations import Demonstration, choose
from uniaudio_cli.inference.encoder import AudioEncoder
from uniaudio_cli.inference.selection import STRATEGIES, clarity, select_demonstrations


def clips_of_texts(clips):
    return [Demonstration(clips / f"{n}.wav", text=text) for n, text in enumerate(["one"] * 4 + ["two"] * 3 + ["six"])]


@pytest.mark.parametrize(
    ("strategy", "measured"), [("clearest_speech", "speech_features"), ("separable", "reconstruct")]
)
def test_the_clips_of_largest_worth_are_selected(clips, monkeypatch, strategy, measured):
    kit, takes = make_kit(), clips_of_texts(clips)
    task = speech_task(selection=strategy)
    worth = STRATEGIES[strategy].worth(kit.encoder, task, takes)
    assert len(set(worth.values())) > 4
    for shots in (1, 2):
        picked = select_demonstrations(kit.encoder, task, takes, shots)
        for text in ("one", "two", "six"):
            best = sorted((each for each in takes if each.text == text), key=worth.__getitem__)[::-1][:shots]
            assert [each for each in picked if each.text == text] == best
        assert {each.text for each in picked[:3]} == {"one", "two", "six"}  # in rounds of one take a text
    assert {each.text for each in select_demonstrations(kit.encoder, task, takes, 1, labels=["two"])} == {"two"}
    assert select_demonstrations(kit.encoder, speech_task(), takes, 1) == choose(takes, 1, 0)
    monkeypatch.setattr(AudioEncoder, measured, lambda *_: pytest.fail("nothing to choose among"))
    assert len(select_demonstrations(kit.encoder, task, takes[-1:], 1)) == 1


def test_clarity_is_nearness_to_a_text_and_to_no_other():
    x, y = (1.0, 0.0), (0.0, 1.0)
    between = (0.6, 0.8)
    recordings = np.array([x, x, y])
    reconstructions = np.array([x, between, between], dtype=np.float16)
    assert clarity(reconstructions, recordings, ["one", "one", "two"]) == pytest.approx([1, -0.2, 0.2], abs=1e-3)
    assert clarity(reconstructions, recordings, ["one"] * 3) == pytest.approx([2 / 3, 2 / 3, 2 / 3], abs=1e-3)

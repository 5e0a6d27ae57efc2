"""The Python API refuses what the command line does: wrong arguments before anything runs, wrong inputs one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import world
from tests.kits import RATE, label_task, labelled, make_kit, pairs, speech_task, spoken
from uniaudio_cli.api import load, load_enhancer, load_zero_shot
from uniaudio_cli.audio.io import as_inputs
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.inference.names import ZeroShotClassifier

__all__ = ["world"]

TASK = label_task(readout="similarity", levels=[0])

CLASSIFIERS = {
    "shots below 1": ({"shots": -1}, "shots must be a whole number from 1 up, not -1"),
    "no shots": ({"shots": 0}, "shots must be a whole number from 1 up, not 0"),
    "half a shot": ({"shots": 1.5}, "shots must be a whole number from 1 up, not 1.5"),
    "shots as text": ({"shots": "3"}, "shots must be a whole number from 1 up, not '3'"),
    "shots that are true": ({"shots": True}, "shots must be a whole number from 1 up, not True"),
    "one label": ({"labels": ["up"]}, "a choice takes two or more labels"),
    "one label twice": ({"labels": ["up", "up"]}, "a choice takes two or more labels"),
    "labels as text": ({"labels": "up,dog"}, "labels must be a collection of labels, not 'up,dog'"),
    "labels that are numbers": ({"labels": [1, 2]}, r"labels must be a collection of labels, not \[1, 2\]"),
    "an unknown label": ({"labels": ["up", "x"]}, "no demonstration of 'x'"),
    "no demonstrations": ({"demos": None}, "demos must be a folder"),
    "a number as demonstrations": ({"demos": 3}, "demos must be a folder"),
    "bytes as demonstrations": ({"demos": b"demos"}, "demos must be a folder"),
    "paths as demonstrations": ({"demos": ["a.wav", "b.wav"]}, "demos must be a folder"),
    "a folder that is not there": ({"demos": "nowhere"}, "nowhere: no such folder"),
}


@pytest.mark.parametrize("wrong", CLASSIFIERS)
def test_wrong_arguments_of_a_classifier(clips, wrong):
    arguments, words = CLASSIFIERS[wrong]
    with pytest.raises(UsageError, match=words):
        make_kit().classifier(**{"demos": labelled(clips), "task": TASK, **arguments})


def test_demonstrations_of_one_label(clips):
    with pytest.raises(UsageError, match="a choice takes two or more labels, and there is 'up' alone"):
        make_kit().classifier(labelled(clips)[:1], TASK)


def test_wrong_models_are_refused_before_anything_is_loaded(world):
    for arguments, words in (
        ({"bits": 3}, "4 or 8 bits, not 3"),
        ({"dtype": "float31"}, "dtype 'float31'"),
        ({"device": "warp"}, "device 'warp'"),
    ):
        with pytest.raises(UsageError, match=words):
            load(lm=world.lm, codec=world.codec, defer_lm=True, **arguments)
        with pytest.raises(UsageError, match=words):
            load_zero_shot(["rain", "dog"], lm=world.lm, **arguments)


def test_wrong_arguments_of_other_sessions(clips):
    with pytest.raises(UsageError, match="shots must be a whole number from 1 up, not -1"):
        load_enhancer(pairs(clips), shots=-1)
    tagger, names = make_kit().encoder.frozen.tagger, lambda texts: np.ones((len(texts), 4))
    for labels, more, words in (
        ("rain", {}, "labels must be a collection of labels, not 'rain'"),
        ([1, 2], {}, "labels must be a collection"),
        (["rain", "rain"], {}, "two or more labels"),
        (["rain", "dog"], {"abstain_below": 3}, "abstain_below must be a number from 0 to 1, not 3"),
    ):
        with pytest.raises(UsageError, match=words):
            ZeroShotClassifier(tagger, names, labels, **more)
    speaker = make_kit().speaker(spoken(clips), speech_task())
    for text, words in (("", "the text is empty"), (3, "int is no text")):
        with pytest.raises(UsageError, match=words):
            speaker.plan_answer(text)


def test_a_single_recording_is_one_input(clips):
    """A str is no collection of names of one letter."""
    session, path = make_kit().classifier(labelled(clips), TASK), clips / "9.wav"
    samples = np.zeros(RATE, np.float32) + np.sin(np.arange(RATE) / 5, dtype=np.float32)
    for one in (str(path), path, path.read_bytes(), (samples, RATE)):
        for results in (list(session.classify(one)), session.classify_batch(one)):
            assert [each.ok for each in results] == [True]
    with path.open("rb") as file:
        assert len(session.classify_batch(file)) == 1
    with pytest.raises(UsageError, match=r"inputs must be a recording or several .*, not NoneType"):
        session.classify_batch(None)
    assert list(as_inputs([path, path])) == [path, path]


def test_inputs_that_are_no_recordings_fail_one_by_one(clips):
    session, good = make_kit().classifier(labelled(clips), TASK), clips / "9.wav"
    results = session.classify_batch([None, good, 3, np.zeros(RATE), Path("nope.wav")])
    assert [each.ok for each in results] == [False, True, False, False, False]
    for place, kind in ((0, "NoneType"), (2, "int"), (3, "ndarray")):
        assert results[place].error.endswith(f"a pair of samples and their rate, not {kind}")

"""Clips of no label: the score by hand, the threshold that is learnt, and records of a classifier."""

from __future__ import annotations

import numpy as np
import pytest

from tests.kits import label_task, labelled, make_kit
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.inference.open_set import UNKNOWN, OpenSet, learn_threshold

A, B, BETWEEN = np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.array([0.6, 0.8])


def test_the_score_is_the_mean_of_two_cosines():
    open_set = OpenSet.of({"a": [A], "b": [B, BETWEEN]}, 0.5)
    mean = (B + BETWEEN) / np.linalg.norm(B + BETWEEN)
    assert open_set.score(BETWEEN) == pytest.approx((mean @ BETWEEN + 1) / 2)
    assert open_set.score(-A) == pytest.approx((mean @ -A + 0) / 2)


def test_the_threshold_is_below_the_mean_leave_one_out_score():
    assert learn_threshold([np.array([A, A]), np.array([B, BETWEEN])]) == pytest.approx(0.9 - 0.1)
    with pytest.raises(UsageError, match="two or more demonstrations"):
        learn_threshold([np.array([A]), np.array([B])])


def test_a_clip_far_from_all_demonstrations_is_unknown(clips):
    task = label_task(readout="similarity", levels=["sounds", 0], unknown_below="auto")
    session = make_kit().session(task, labelled(clips))
    assert session.open_set is not None
    (result,) = session.classify_batch([clips / "9.wav"])
    assert result.similarity is not None
    assert result.features is not None
    assert (result.label == UNKNOWN) == (result.similarity < session.open_set.threshold)
    for below, unknown in ((-1.0, False), (1.0, True)):
        changed = make_kit().session(task.replace(unknown_below=below), labelled(clips))
        (result,) = changed.classify_batch([clips / "9.wav"])
        assert (result.label == UNKNOWN) == unknown


def test_only_the_similarity_readout_has_it(clips):
    with pytest.raises(UsageError, match="'unknown_below' must be null unless the readout is similarity"):
        label_task(readout="label", unknown_below=0.5)
    with pytest.raises(UsageError, match="'unknown_below' must be auto, a number from -1 to 1, or null"):
        label_task(readout="similarity", levels=[0], unknown_below="often")
    assert make_kit().session(label_task(), labelled(clips)).open_set is None

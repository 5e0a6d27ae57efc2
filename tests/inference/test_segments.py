"""Segments: the path through states by hand, the background, and a classifier's labels in a joined recording."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import soundfile

from tests.factories import chirps
from tests.kits import CLIP, RATE, SECONDS, label_task, labelled, make_kit
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.inference.results import ErrorResult
from uniaudio_cli.inference.segments import Levels, Segmenter, background, runs, viterbi


def test_a_path_stays_unless_a_change_pays():
    scores = np.array([[1.0, 0.0], [0.0, 0.5], [1.0, 0.0], [0.0, 3.0], [0.0, 3.0]])
    assert viterbi(scores, 1.0).tolist() == [0, 0, 0, 1, 1]
    assert viterbi(scores, 0.0).tolist() == [0, 1, 0, 1, 1]
    assert viterbi(scores, 100.0).tolist() == [1] * 5
    assert viterbi(np.zeros((0, 2)), 1.0).tolist() == []


@pytest.mark.parametrize("seed", range(5))
def test_the_path_is_the_best_of_all(seed):
    scores, cost = np.random.default_rng(seed).normal(size=(5, 3)), 0.7

    def total(path: tuple[int, ...]) -> float:
        changes = sum(a != b for a, b in itertools.pairwise(path))
        return sum(scores[t, s] for t, s in enumerate(path)) - cost * changes

    best = max(np.ndindex(*[3] * 5), key=total)
    assert total(tuple(viterbi(scores, cost))) == pytest.approx(total(best))


def test_runs_of_one_state():
    assert runs(np.array([2, 2, 0, 1, 1])) == [(2, 0, 2), (0, 2, 3), (1, 3, 5)]
    assert runs(np.zeros(0, int)) == []


def test_background_is_near_the_quiet_end():
    levels = np.array([-50.0] * 5 + [-20.0] * 5 + [-100.0])
    assert (background(levels) > 0).tolist() == [True] * 5 + [False] * 5 + [True]
    assert (background(np.array([-30.0, -28.0, -25.0])) < 0).all()
    assert (background(np.full(3, -100.0)) > 0).all()


@pytest.mark.parametrize("block", [1, 7, 100])
def test_levels_do_not_depend_on_blocks(block):
    samples = np.random.default_rng(0).normal(size=95).astype(np.float32)
    meter = Levels(10)
    assert sum(map(len, meter.measured([samples[at : at + block] for at in range(0, 95, block)]))) == 95
    expected = [10 * np.log10(np.square(samples[at : at + 10]).mean()) for at in range(0, 95, 10)]
    assert meter.db() == pytest.approx(expected, abs=1e-3)


@pytest.fixture(scope="module")
def segmenter(clips) -> Segmenter:
    session = make_kit().classifier(labelled(clips), label_task(readout="similarity", levels=["sounds", 0]))
    return Segmenter(session, SECONDS)


def test_demonstrations_in_a_row_are_found(segmenter, clips, tmp_path):
    pause = np.zeros(RATE)
    wavs = [np.tile(chirps(CLIP, seed)[0, 0].numpy(), 5) for seed in (1, 2)]
    soundfile.write(tmp_path / "x.wav", np.concatenate([pause, wavs[0], pause, wavs[1], pause]), RATE)
    found = segmenter(tmp_path / "x.wav")
    assert found.seconds == pytest.approx(3 + 10 * SECONDS)
    assert [each.label for each in found.segments] == ["upper", "dog"]
    for each, start in zip(found.segments, (1.0, 2.0 + 5 * SECONDS), strict=True):
        assert each.start == pytest.approx(start, abs=0.15)
        assert each.end == pytest.approx(start + 5 * SECONDS, abs=0.15)
    silent = [window for window in found.windows if window.result is None]
    assert silent
    assert found.windows[-1].end == pytest.approx(found.seconds)
    longer = Segmenter(segmenter.classifier, SECONDS, min_seconds=10.0)(tmp_path / "x.wav")
    assert longer.segments == ()


def test_samples_that_come_one_by_one(segmenter):
    samples = np.tile(chirps(CLIP, 1)[0, 0].numpy(), 4)
    found = list(segmenter.live((samples[at : at + 100] for at in range(0, len(samples), 100)), RATE))
    assert [window.start for window in found] == pytest.approx([SECONDS / 2 * n for n in range(len(found))])
    assert all(window.result.label == "upper" for window in found[::2])


def test_what_cannot_be_read_or_is_no_window(segmenter, tmp_path):
    (tmp_path / "x.wav").write_text("no audio")
    assert isinstance(segmenter(tmp_path / "x.wav"), ErrorResult)
    for seconds in (0.0, 0.1, 1e6):
        with pytest.raises(UsageError, match="a window is"):
            Segmenter(segmenter.classifier, seconds)

"""Clips of none of the labels in an evaluation: by hand, through a run, and what is said where it is not measured."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.evaluation.folders import LABELS, clip_folder
from tests.kits import make_kit
from uniaudio_cli.evaluation import open_set, sentences
from uniaudio_cli.evaluation.job import Job, ModelNames, evaluate
from uniaudio_cli.evaluation.manifest import Selection, plan
from uniaudio_cli.evaluation.metrics import auroc, clustered_auroc
from uniaudio_cli.evaluation.results import Answer, read_results
from uniaudio_cli.evaluation.runner import EPISODES, open_log
from uniaudio_cli.evaluation.systems import PRODUCT
from uniaudio_cli.prompting.task import load_task, override_task

A, B, C = np.eye(3)
SIMILARITY = override_task(load_task("emotion"), readout="similarity", levels=(0,))


def answer(number: int, similarities: tuple[float, float] | None, scores: dict[str, float]) -> Answer:
    return Answer(
        system=PRODUCT,
        shots=1,
        episode=number,
        file=f"{number}.wav",
        group=f"{number // 2}",
        truth="a",
        answer="a",
        scores=scores,
        probabilities=True,
        similarities=similarities,
    )


@pytest.mark.parametrize("truth", ["a", "b", "c"])
def test_as_many_labels_are_left_with_a_clips_own_as_without_it(truth):
    other, own = open_set.left_out(["c", "a", "b"], truth)
    assert (other, own) == ({"a": "b", "b": "c", "c": "a"}[truth], truth)


def test_a_clip_is_near_its_own_demonstrations_and_far_from_the_others():
    clip = np.array([0.8, 0.6, 0.0])
    near, far = open_set.similarities({"a": [A], "b": [B], "c": [C]}, clip, "a")
    assert (near, far) == (pytest.approx(0.8), pytest.approx(0.6))


def test_areas_of_made_answers():
    scores = [{"a": 0.5, "b": 0.3, "c": 0.2}, {"a": 0.9, "b": 0.06, "c": 0.04}]
    answers = [answer(number, (0.9, 0.1 + 0.1 * number), scores[number % 2]) for number in range(12)]
    found = open_set.measure([*answers, answer(12, None, scores[0])])
    assert found is not None
    assert (found.labels, found.similarity.n, found.similarity.clusters) == (2, 12, 6)
    assert found.similarity.value == pytest.approx((12 * 12 - 3 * 12 - 6) / 144)  # three of twelve are above, one equal
    known, unknown = [0.5 / 0.7, 0.9 / 0.94] * 6, [0.6, 0.6] * 6
    assert found.probability.value == auroc([*known, *unknown], [True] * 12 + [False] * 12) == 1
    assert found.probability.low < 1
    assert open_set.measure([answer(0, None, scores[0])]) is None


def test_the_area_is_sklearns_and_its_interval_resamples_clusters():
    draw = np.random.default_rng(0)
    known, unknown = draw.normal(1, 1, 80).round(1), draw.normal(0, 1, 80).round(1)
    single, together = (clustered_auroc(known, unknown, groups) for groups in (range(80), np.arange(80) // 8))
    assert single.value == together.value == pytest.approx(auroc([*known, *unknown], [True] * 80 + [False] * 80))
    assert single.low < single.value < single.high
    assert (single.clusters, together.clusters) == (80, 10)
    assert clustered_auroc(known, unknown, np.arange(80) // 40) == single.__class__(
        single.value, single.low, single.high, 80, 0
    )
    assert clustered_auroc([2, 3], [1, 2], "ab").value == 0.875
    with pytest.raises(ValueError, match="same items"):
        clustered_auroc([1], [1, 2], "a")
    with pytest.raises(ValueError, match="clusters"):
        clustered_auroc([1], [1], "ab")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return clip_folder(tmp_path_factory.mktemp("clips"))


def run(folder, monkeypatch, task=SIMILARITY, ways=3, log=None):
    from uniaudio_cli.evaluation import baselines, in_context

    monkeypatch.setattr(baselines, "ROWS", ())
    monkeypatch.setattr(in_context, "ROWS", ())
    manifest = plan(Selection(folder, group_regex="/(?P<group>.-.)"), ways=ways, shots=(1, 2), count=9)
    return evaluate(Job(manifest, folder, task, ModelNames(offline=True)), log, load=make_kit)


def test_a_run_measures_it_and_a_continued_one_too(folder, monkeypatch, tmp_path):
    with open_log(tmp_path, {}) as log:
        results = run(folder, monkeypatch, log=log)
    found = results.open_set
    assert found is not None
    assert (found.labels, found.similarity.n, found.similarity.clusters) == (len(LABELS) - 1, 9, 6)
    for rate in (found.similarity, found.probability):
        assert 0 <= rate.low <= rate.value <= rate.high <= 1
    assert f"AUROC of {found.similarity.value:.3f} [" in sentences.telling_unknown(results)
    results.write(tmp_path / "results.json")
    assert read_results(tmp_path) == results
    assert json.loads((tmp_path / "results.json").read_text())["schema_version"] == 3
    monkeypatch.setattr(open_set, "similarities", None)  # nothing is computed anew
    with open_log(tmp_path, {}) as log:
        assert run(folder, monkeypatch, log=log).open_set == found
    lines = (tmp_path / EPISODES).read_text().splitlines()
    assert sum('"similarities"' in line for line in lines) == 18


@pytest.mark.parametrize(
    ("task", "ways", "why"),
    [
        (SIMILARITY, 2, "not measured, which takes 3 labels"),
        (
            override_task(load_task("emotion"), levels=(0,), readout="likelihood"),
            3,
            "not measured, as readout likelihood has no --unknown",
        ),
    ],
)
def test_what_is_not_measured_is_said(folder, monkeypatch, task, ways, why):
    results = run(folder, monkeypatch, task, ways)
    assert results.open_set is None
    assert why in sentences.telling_unknown(results)
    assert sentences.telling_unknown(results) in sentences.lines(results)

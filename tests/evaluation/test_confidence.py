"""Reliability, abstention and labels that look wrong, by hand."""

from __future__ import annotations

import pytest

from uniaudio_cli.evaluation.confidence import abstention, covered_at, likely_wrong_labels, reliability


def test_reliability_by_hand():
    bins = reliability([0.95, 0.95, 0.15], [True, False, True])
    assert [(round(each.confidence, 6), each.accuracy, each.n) for each in bins] == [(0.15, 1.0, 1), (0.95, 0.5, 2)]


def test_the_abstention_curve_by_hand():
    curve = abstention([0.8, 0.9, 0.7, 0.7], [False, True, True, True])
    assert [(each.threshold, each.coverage) for each in curve] == [(0.7, 1.0), (0.8, 0.5), (0.9, 0.25)]
    assert [each.accuracy for each in curve] == [0.75, 0.5, 1.0]


@pytest.mark.parametrize(("target", "coverage"), [(0.75, 1.0), (0.8, 0.25), (1.0, 0.25)])
def test_the_most_that_can_be_answered(target, coverage):
    curve = abstention([0.8, 0.9, 0.7, 0.7], [False, True, True, True])
    found = covered_at(curve, target)
    assert found is not None
    assert found.coverage == coverage


def test_no_threshold_may_be_good_enough():
    assert covered_at(abstention([0.9, 0.5], [False, True]), 0.9) is None


def test_a_swapped_label_looks_wrong():
    truths = ["rain"] * 4 + ["dog"] * 4
    scores = [{"rain": 0.9, "dog": 0.1}] * 3 + [{"rain": 0.05, "dog": 0.95}] + [{"rain": 0.2, "dog": 0.8}] * 4
    assert likely_wrong_labels(truths, scores) == {3: "dog"}
    assert likely_wrong_labels(truths[:3] + truths[4:], scores[:3] + scores[4:]) == {}

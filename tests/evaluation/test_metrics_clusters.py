"""Intervals over clusters: wider than Wilson's where answers of a cluster go together."""

from __future__ import annotations

import numpy as np
import pytest

from uniaudio_cli.evaluation.metrics import (
    Interval,
    accuracy,
    clustered_accuracy,
    clustered_difference,
    difference,
)


def test_answers_that_go_together_widen_the_interval():
    clusters = [str(number // 20) for number in range(200)]
    correct = [number // 20 < 6 for number in range(200)]  # six of ten speakers all right, four all wrong
    found, plain = clustered_accuracy(correct, clusters), accuracy(correct)
    assert (found.value, found.n, found.clusters) == (0.6, 200, 10)
    assert found.high - found.low > 2 * (plain.high - plain.low)
    assert found.low == pytest.approx(0.3, abs=0.05)
    assert found == clustered_accuracy(correct, clusters)


def test_single_answers_as_clusters_give_about_wilson():
    correct = np.arange(300) % 3 != 0
    found, plain = clustered_accuracy(correct, list(range(300))), accuracy(correct)
    assert (found.low, found.high) == (pytest.approx(plain.low, abs=0.01), pytest.approx(plain.high, abs=0.01))


def test_few_clusters_have_no_bootstrap():
    correct, clusters = [True, False, True, True], ["a", "a", "b", "c"]
    assert clustered_accuracy(correct, clusters) == accuracy(correct)
    assert clustered_difference(correct, [True] * 4, clusters) == difference(correct, [True] * 4)


def test_all_right_still_has_a_width():
    found = clustered_accuracy([True] * 60, [number % 6 for number in range(60)])
    assert (found.value, found.high, found.n, found.clusters) == (1.0, 1.0, 60, 6)
    assert found.low == pytest.approx(accuracy([True] * 6).low)


def test_paired_differences_over_clusters():
    clusters = [number % 8 for number in range(160)]
    first = np.arange(160) % 4 != 0
    second = first & (np.arange(160) % 5 != 0)
    found = clustered_difference(first, second, clusters)
    assert found.value == pytest.approx(first.mean() - second.mean())
    assert found.low > 0
    assert found.clusters == 8
    turned = clustered_difference(second, first, clusters)
    assert turned.value == pytest.approx(-found.value)
    assert clustered_difference(first, first, clusters) == difference(first, first)


def test_clusters_must_match():
    with pytest.raises(ValueError, match="clusters"):
        clustered_accuracy([True], ["a", "b"])


def test_an_interval_compares_by_its_numbers():
    assert Interval(0.5, 0.2, 0.8, 4) == Interval(0.5, 0.2, 0.8, 4, 0)

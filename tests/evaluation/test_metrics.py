import math
from collections import Counter

import numpy as np
import pytest

from uniaudio_cli.evaluation import metrics
from uniaudio_cli.evaluation.metrics import Interval, accuracy, best, chance, difference, nearest_demonstration


def answers(right: int, n: int) -> list[bool]:
    return [number < right for number in range(n)]


# From Newcombe (1998), table I, method 3, and scipy.stats.binomtest(...).proportion_ci(method="wilson").
@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (136, 200, 0.6125, 0.7407),
        (1, 1, 0.2065, 1.0),
    ],
)
def test_wilson(right, n, low, high):
    interval = accuracy(answers(right, n))
    assert interval == Interval(right / n, pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5), n)


def test_intervals_in_print():
    assert str(accuracy(answers(136, 200))) == "68.0 % [61.2, 74.1] (n=200)"
    assert Interval(0.286, 0.013, 0.508, 21).signed == "+28.6 [+1.3, +50.8]"
    assert Interval(-0.1, -0.25, 0.0, 40).signed == "-10.0 [-25.0, +0.0]"


@pytest.mark.slow
def test_wilson_holds_the_truth_about_as_often_as_it_says():
    draw = np.random.default_rng(0)
    for share in (0.2, 0.5, 0.9):
        held = [interval.low <= share <= interval.high for interval in map(accuracy, draw.random((2_000, 100)) < share)]
        assert 0.93 < np.mean(held) < 0.98


# Numbers of episodes that both, the first alone, the second alone and neither have right. The first row is the
# example of Fagerland, Lydersen and Laake (2014), table V.
@pytest.mark.parametrize(
    ("counts", "value", "low", "high"),
    [
        ((1, 7, 1, 12), 6 / 21, 0.0133, 0.5084),
        ((10, 0, 0, 10), 0.0, -0.1260, 0.1260),
        ((0, 3, 3, 0), 0.0, -0.6930, 0.6930),
        ((0, 1, 0, 0), 1.0, -0.7335, 1.0),
    ],
)
def test_paired_differences(counts, value, low, high):
    first = np.repeat([True, True, False, False], counts)
    second = np.repeat([True, False, True, False], counts)
    expected = Interval(pytest.approx(value), pytest.approx(low, abs=2e-4), pytest.approx(high, abs=2e-4), sum(counts))
    assert difference(first, second) == expected
    turned = difference(second, first)
    assert (turned.value, turned.low) == (pytest.approx(-value), pytest.approx(-high, abs=2e-4))


def test_paired_differences_hold_the_truth_about_as_often_as_they_say():
    draw = np.random.default_rng(0)
    held = []
    for _ in range(2_000):
        hard = draw.random(80)
        interval = difference(hard < 0.7, (hard < 0.5) ^ (draw.random(80) < 0.1))
        held.append(interval.low <= 0.7 - (0.5 * 0.9 + 0.5 * 0.1) <= interval.high)
    assert 0.93 < np.mean(held) < 0.98


@pytest.mark.parametrize("seed", range(20))
def test_a_difference_lies_in_its_interval(seed):
    draw = np.random.default_rng(seed)
    n = int(draw.integers(1, 200))
    shares = draw.random(2)
    interval = difference(draw.random(n) < shares[0], draw.random(n) < shares[1])
    assert -1 <= interval.low <= interval.value <= interval.high <= 1


@pytest.mark.parametrize(("first", "second"), [([], []), ([True], [True, False]), ([[True]], [[True]])])
def test_answers_that_cannot_be_counted(first, second):
    with pytest.raises(ValueError, match="answers"):
        difference(first, second)
    if len(first) != 1 or first == [[True]]:
        with pytest.raises(ValueError, match="answers"):
            accuracy(first)


def test_chance():
    assert [chance(ways) for ways in (2, 5)] == [0.5, 0.2]


@pytest.mark.parametrize(
    ("query", "demonstrations", "label"),
    [
        # (1, 2, 2) is nearer to (2, 2, 1) in any order than to (1, 1, 2).
        ([[1, 2, 2]], [("a", [[1, 1, 2]]), ("b", [[2, 1, 2]])], "b"),
        # The cosine forgives length: a long clip of the same words beats a short one of half of them.
        ([[1, 2]], [("a", [[1]]), ("b", [[1, 2] * 9])], "b"),
        # One near demonstration of a label is enough.
        ([[1, 2]], [("a", [[1, 2]]), ("a", [[7, 8]]), ("b", [[1, 7]]), ("b", [[2, 7]])], "a"),
        # Code 5 of level 0 is not code 5 of level 1.
        ([[5], [6, 6]], [("a", [[6], [5, 5]]), ("b", [[5], [9, 9]])], "b"),
        ([[1]], [("a", [[]]), ("b", [[1]])], "b"),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_nearest_demonstration(query, demonstrations, label, seed):
    assert best(nearest_demonstration(query, demonstrations), seed) == label
    assert best(nearest_demonstration(query, demonstrations[::-1]), seed) == label


def test_nearest_demonstration_needs_some():
    with pytest.raises(ValueError, match="no demonstrations"):
        nearest_demonstration([[1]], [])


def test_ties_favour_no_one():
    shown = [("a", [[1, 9]]), ("b", [[1, 8]]), ("c", [[1, 7]]), ("d", [[5]])]
    scores, turned = nearest_demonstration([[1, 2]], shown), nearest_demonstration([[1, 2]], shown[::-1])
    drawn = Counter(best(scores, seed) for seed in range(600))
    assert set(drawn) == {"a", "b", "c"}
    assert all(150 < count < 250 for count in drawn.values())
    assert best(scores, "3 14") == best(turned, "3 14")
    # A label with more demonstrations at the same distance gets no more of the draw.
    more = Counter(best({"a": 1.0, "b": 1.0, "c": 0.5}, seed) for seed in range(400))
    assert set(more) == {"a", "b"}
    assert all(150 < count < 250 for count in more.values())


@pytest.mark.parametrize(
    ("confidence", "right", "expected"),
    [
        ([0.9] * 10, [True] * 7 + [False] * 3, 0.2),
        ([1.0, 0.0], [True, False], 0.0),
        ([0.95, 0.55], [True, False], (0.05 + 0.55) / 2),
    ],
)
def test_calibration_error(confidence, right, expected):
    assert metrics.calibration_error(confidence, right) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("scores", "positive", "expected"),
    [
        ([1, 2, 3], [True, False, True], 0.5),
        ([1, 2, 3, 4], [False, False, True, True], 1.0),
        ([1, 1, 1], [True, False, True], 0.5),
        ([3, 1], [False, True], 0.0),
    ],
)
def test_auroc(scores, positive, expected):
    assert metrics.auroc(scores, positive) == pytest.approx(expected)


def test_measures_of_nothing_are_refused():
    with pytest.raises(ValueError, match="a row of one or more"):
        metrics.calibration_error([], [])
    with pytest.raises(ValueError, match="cannot be those of"):
        metrics.calibration_error([0.5], [True, False])
    with pytest.raises(ValueError, match="positives and of negatives"):
        metrics.auroc([1, 2], [True, True])


def test_a_mean_has_the_interval_of_its_standard_error():
    middle, reach = metrics.mean([1.0, 2.0, 3.0, 4.0])
    assert (middle, reach) == (2.5, pytest.approx(1.96 * (5 / 3) ** 0.5 / 2, rel=1e-3))
    assert math.isnan(metrics.mean([2.0])[1])

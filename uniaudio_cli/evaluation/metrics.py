"""Right and wrong answers to rates with 95 % intervals, calibration, and the two rules that no model is needed for."""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

# The two-sided 95 % point of the normal distribution.
Z = 1.959963984540054
# With fewer clusters a bootstrap over them is too narrow to be called an interval.
FEWEST_CLUSTERS = 5
RESAMPLES = 9_999


@dataclass(frozen=True)
class Interval:
    """A rate, or a difference of rates, with its 95 % interval.

    `n`: answers. `clusters`: independent groups of them where the interval is bootstrapped over these, else 0.
    """

    value: float
    low: float
    high: float
    n: int
    clusters: int = 0

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}] (n={self.n})"

    @property
    def signed(self) -> str:
        """A difference in points: "+4.0 [-1.3, +9.2]"."""
        return f"{100 * self.value:+.1f} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"


def accuracy(correct: ArrayLike) -> Interval:
    """The rate of right answers with Wilson's score interval (Wilson 1927). `correct`: bool [n].

    136 of 200 are 68.0 % [61.2, 74.1].

    Raises:
        ValueError: no answers.
    """
    from scipy.stats import binomtest

    answers = _answers(correct)
    right, n = int(answers.sum()), len(answers)
    found = binomtest(right, n).proportion_ci(0.95, method="wilson")
    # At 0 and n right answers rounding would leave the ends a hair inside.
    return Interval(right / n, 0.0 if right == 0 else float(found.low), 1.0 if right == n else float(found.high), n)


def difference(first: ArrayLike, second: ArrayLike) -> Interval:
    """By how much `first` is right more often than `second` on the same n episodes (Bonett and Price 2012).

    The interval counts one more discordant episode of each kind, so that it has a width even where the two always
    agree; the value is the plain difference. Of 21 episodes 7 right for `first` alone and 1 for `second` alone are
    +28.6 points [+1.3, +50.8].

    Raises:
        ValueError: no answers, or not as many of one as of the other.
    """
    a, b = _pair(first, second)
    n = len(a)
    only_first, only_second = int((a & ~b).sum()), int((b & ~a).sum())
    p, q = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    reach = Z * math.sqrt((p + q - (p - q) ** 2) / (n + 2))
    return Interval((only_first - only_second) / n, max(-1.0, p - q - reach), min(1.0, p - q + reach), n)


def clustered_accuracy(correct: ArrayLike, clusters: Sequence[Hashable], seed: int = 0) -> Interval:
    """The rate of right answers with a percentile bootstrap over clusters (speakers, recordings).

    Answers of one cluster are not independent, so whole clusters are drawn. Below `FEWEST_CLUSTERS` the interval is
    Wilson's, which holds for these clusters alone and not for others; `clusters` of the result is 0 then.

    Raises:
        ValueError: no answers, or not as many clusters as answers.
    """
    answers = _answers(correct)
    names = list(dict.fromkeys(_named(answers, clusters)))
    if len(names) < FEWEST_CLUSTERS:
        return accuracy(answers)
    value = float(answers.mean())
    if value in (0.0, 1.0):  # a bootstrap of equal answers has no width
        bounds = accuracy(np.full(len(names), value == 1.0))
        return Interval(value, bounds.low, bounds.high, len(answers), len(names))
    low, high = _bootstrap(answers.astype(float), clusters, seed)
    return Interval(value, low, high, len(answers), len(names))


def clustered_difference(first: ArrayLike, second: ArrayLike, clusters: Sequence[Hashable], seed: int = 0) -> Interval:
    """By how much `first` is right more often than `second`, paired, with a percentile bootstrap over clusters.

    Below `FEWEST_CLUSTERS`, and where the two agree everywhere, the interval is that of `difference`.

    Raises:
        ValueError: no answers, or not as many of one as of the other or as of clusters.
    """
    a, b = _pair(first, second)
    names = list(dict.fromkeys(_named(a, clusters)))
    if len(names) < FEWEST_CLUSTERS or bool((a == b).all()):
        return difference(a, b)
    gains = a.astype(float) - b.astype(float)
    low, high = _bootstrap(gains, clusters, seed)
    return Interval(float(gains.mean()), low, high, len(gains), len(names))


def balanced_accuracy(correct: ArrayLike, groups: Sequence[Hashable], seed: int = 0) -> Interval:
    """The mean over groups (classes of clips) of their rates of right answers; the interval resamples groups.

    Of a group with 1 of 2 and one with 4 of 4 it is 75 %.

    Raises:
        ValueError: no answers, or not as many groups as answers.
    """
    rates = _rates(_answers(correct).astype(float), groups)
    value = float(rates.mean())
    if len(rates) < FEWEST_CLUSTERS or value in (0.0, 1.0):
        bounds = accuracy(correct)
        return Interval(value, min(bounds.low, value), max(bounds.high, value), len(_answers(correct)))
    low, high = _bootstrap(rates, range(len(rates)), seed)
    return Interval(value, low, high, len(_answers(correct)), len(rates))


def balanced_difference(first: ArrayLike, second: ArrayLike, groups: Sequence[Hashable], seed: int = 0) -> Interval:
    """By how much `first` has the higher `balanced_accuracy`, paired; the interval resamples groups.

    Raises:
        ValueError: as `balanced_accuracy`, or not as many answers of one as of the other.
    """
    a, b = _pair(first, second)
    gains = _rates(a.astype(float) - b.astype(float), groups)
    if len(gains) < FEWEST_CLUSTERS or not gains.any():
        return difference(a, b)
    low, high = _bootstrap(gains, range(len(gains)), seed)
    return Interval(float(gains.mean()), low, high, len(a), len(gains))


def clustered_mean(values: ArrayLike, clusters: Sequence[Hashable], seed: int = 0) -> Interval:
    """A mean with a percentile bootstrap over clusters; below `FEWEST_CLUSTERS` over the values themselves.

    Raises:
        ValueError: no values, or not as many clusters as values.
    """
    given = np.asarray(values, dtype=float)
    if given.ndim != 1 or not len(given):
        raise ValueError(f"values are a row of one or more, not of shape {given.shape}")
    names = _named(given, clusters)
    count = len(set(names))
    if count < FEWEST_CLUSTERS:
        names, count = range(len(given)), 0
    low, high = _bootstrap(given, names, seed) if len(given) > 1 else (given[0], given[0])
    return Interval(float(given.mean()), low, high, len(given), count)


def calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = 10) -> float:
    """Expected calibration error with equal bins (Guo et al. 2017): the mean distance of confidence from accuracy.

    `confidence`: [n] probabilities of the answers given; `correct`: [n]. Ten answers at 0.9 of which seven are right
    are 0.2 off.

    Raises:
        ValueError: no answers, or not as many of one as of the other.
    """
    from scipy.stats import binned_statistic

    p, right = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=bool)
    if p.shape != right.shape:
        raise ValueError(f"{p.shape} confidences cannot be those of {right.shape} answers")
    n = len(_answers(right))
    gaps = binned_statistic(p, p - right, statistic="sum", bins=bins, range=(0.0, 1.0)).statistic
    return float(np.abs(gaps).sum()) / n


def auroc(scores: ArrayLike, positive: ArrayLike) -> float:
    """The area under the ROC curve: how often a positive scores higher than a negative, equals counting half.

    `scores`, `positive`: [n]. Scores 1, 2, 3 with the first and last positive are 0.5.

    Raises:
        ValueError: there are not both kinds.
    """
    from sklearn.metrics import roc_auc_score

    values, kind = np.asarray(scores, dtype=float), np.asarray(positive, dtype=bool)
    if values.shape != kind.shape or not kind.any() or kind.all():
        raise ValueError("an area under the curve takes scores of positives and of negatives")
    return float(roc_auc_score(kind, values))


def clustered_auroc(positive: ArrayLike, negative: ArrayLike, clusters: Sequence[Hashable], seed: int = 0) -> Interval:
    """`auroc` of items that have a score of either kind, with a percentile bootstrap over clusters of items.

    `positive`, `negative`: [n] scores of the same items. Below `FEWEST_CLUSTERS` items are drawn instead, and
    `clusters` of the result is 0. Scores 2, 3 as positives and 1, 2 as negatives are .875.

    Raises:
        ValueError: no items, or not as many scores of one kind as of the other or as of clusters.
    """
    a, b = np.asarray(positive, dtype=float), np.asarray(negative, dtype=float)
    if a.ndim != 1 or a.shape != b.shape or not len(a):
        raise ValueError(f"scores of shape {a.shape} and {b.shape} are not of the same items")
    names = _named(a, clusters)
    count = len(set(names))
    if count < FEWEST_CLUSTERS:
        names, count = range(len(a)), 0
    _, place = np.unique([str(name) for name in names], return_inverse=True)
    _, rank = np.unique([a, b], return_inverse=True)
    first, second = np.reshape(rank, (2, -1))

    def area(weight: np.ndarray) -> float:
        """The area where every item counts as often as its cluster was drawn."""
        above, below = (np.bincount(each, weight[place], rank.max() + 1) for each in (first, second))
        return float(above @ (np.cumsum(below) - below / 2) / (above.sum() * below.sum()))

    size = int(place.max()) + 1
    value = area(np.ones(size))
    if value in (0.0, 1.0):  # a bootstrap of equal areas has no width
        bounds = accuracy(np.full(size, value == 1.0))
        return Interval(value, bounds.low, bounds.high, len(a), count)
    drawn = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), RESAMPLES)
    low, high = np.percentile([area(weight) for weight in drawn], [2.5, 97.5])
    return Interval(value, float(low), float(high), len(a), count)


def mean(values: Sequence[float]) -> tuple[float, float]:
    """(mean, half the width of its 95 % interval): the normal approximation; the half is NaN for a single value.

    Raises:
        StatisticsError: there are no values.
    """
    spread = statistics.stdev(values) if len(values) > 1 else math.nan
    return statistics.mean(values), Z * spread / math.sqrt(len(values))


def chance(ways: int) -> float:
    """The accuracy of a uniform guess among `ways` labels."""
    return 1 / ways


def best(scores: Mapping[str, float | Fraction], seed: int | str = 0) -> str:
    """The label of the highest score; among equals a seeded draw, so that no place in a list is an advantage."""
    top = max(scores.values())
    return random.Random(f"{seed}").choice(sorted(label for label, score in scores.items() if score == top))


def nearest_demonstration(
    query: Sequence[Sequence[int]], demonstrations: Sequence[tuple[str, Sequence[Sequence[int]]]]
) -> dict[str, Fraction]:
    """Per label the highest squared cosine of its demonstrations' bags of codes with the query's, exact.

    The query's own length is left out, which changes no order; whole numbers keep equal scores equal.

    Args:
        query: a row of codes per level; a code counts as another word on another level.
        demonstrations: (label, codes) of each.

    Raises:
        ValueError: there are no demonstrations.
    """
    if not demonstrations:
        raise ValueError("there are no demonstrations to compare with")
    bag = _bag(query)
    scores: dict[str, Fraction] = {}
    for label, codes in demonstrations:
        other = _bag(codes)
        product = sum(count * other[word] for word, count in bag.items())
        cosine = Fraction(product**2, sum(count**2 for count in other.values()) or 1)
        scores[label] = max(cosine, scores.get(label, Fraction(0)))
    return scores


def _bootstrap(values: np.ndarray, clusters: Sequence[Hashable], seed: int) -> tuple[float, float]:
    """The 95 % interval of the mean of `values` when whole clusters are drawn with replacement."""
    from scipy.stats import bootstrap

    _, place = np.unique([str(name) for name in clusters], return_inverse=True)
    sums, sizes = np.bincount(place, weights=values), np.bincount(place).astype(float)
    found = bootstrap(
        (sums, sizes),
        lambda total, count, axis: total.sum(axis=axis) / count.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, 2_000_000 // len(sums)),
        confidence_level=0.95,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _rates(values: np.ndarray, groups: Sequence[Hashable]) -> np.ndarray:
    """The mean of `values` in each group."""
    if len(groups) != len(values):
        raise ValueError(f"{len(values)} answers cannot be of {len(groups)} groups")
    _, place = np.unique([str(name) for name in groups], return_inverse=True)
    return np.bincount(place, weights=values) / np.bincount(place)


def _answers(correct: ArrayLike) -> np.ndarray:
    answers = np.asarray(correct, dtype=bool)
    if answers.ndim != 1 or not len(answers):
        raise ValueError(f"answers are a row of one or more, not of shape {answers.shape}")
    return answers


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if a.shape != b.shape:
        raise ValueError(f"answers to {a.shape} and {b.shape} episodes cannot be paired")
    return _answers(a), _answers(b)


def _named(answers: np.ndarray, clusters: Sequence[Hashable]) -> Sequence[Hashable]:
    if len(clusters) != len(answers):
        raise ValueError(f"{len(answers)} answers cannot be of {len(clusters)} clusters")
    return clusters


def _bag(codes: Sequence[Sequence[int]]) -> Counter[tuple[int, int]]:
    return Counter((level, code) for level, row in enumerate(codes) for code in row)

"""Answers to numbers with intervals, and the rules an LLM has to beat: codes and ids in. Knows no audio, no LLM."""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

# The two-sided 95 % point of the normal distribution.
Z = 1.959963984540054


@dataclass(frozen=True)
class Interval:
    """A share, or a difference of shares, with its 95 % interval and the number of answers it rests on."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}] (n={self.n})"

    @property
    def signed(self) -> str:
        """A difference in points: "+4.0 [-1.3, +9.2]"."""
        return f"{100 * self.value:+.1f} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"


def accuracy(correct: ArrayLike) -> Interval:
    """The share of right answers with Wilson's score interval (Wilson 1927). `correct`: [n] of true and false.

    136 of 200 are 68.0 % [61.2, 74.1].

    Raises:
        ValueError: no answers.
    """
    n, share = _counted(correct)
    middle = share + Z * Z / (2 * n)
    reach = Z * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    scale = 1 + Z * Z / n
    # At 0 and n right answers rounding would leave the ends a hair inside.
    low = 0.0 if share == 0 else (middle - reach) / scale
    return Interval(share, low, 1.0 if share == 1 else (middle + reach) / scale, n)


def difference(first: ArrayLike, second: ArrayLike) -> Interval:
    """How much more often `first` is right than `second` on the same n episodes (Bonett and Price 2012).

    The interval counts one more episode of each way to differ, so that it has a width even where the two always agree;
    the value is the plain difference. Of 21 episodes 7 right for `first` alone and 1 for `second` alone are +28.6
    points [+1.3, +50.8].

    Raises:
        ValueError: no answers, or not as many of one as of the other.
    """
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if a.shape != b.shape:
        raise ValueError(f"answers to {a.shape} and {b.shape} episodes cannot be paired")
    n, _ = _counted(a)
    only_first, only_second = int((a & ~b).sum()), int((b & ~a).sum())
    p, q = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    reach = Z * math.sqrt((p + q - (p - q) ** 2) / (n + 2))
    return Interval((only_first - only_second) / n, max(-1.0, p - q - reach), min(1.0, p - q + reach), n)


def calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = 10) -> float:
    """How far confidence is from accuracy on average: expected calibration error with equal bins (Guo et al. 2017).

    `confidence`: [n] probabilities of the answers given; `correct`: [n]. Ten answers at 0.9 of which seven are right
    are 0.2 off.

    Raises:
        ValueError: no answers, or not as many of one as of the other.
    """
    p, right = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=bool)
    if p.shape != right.shape:
        raise ValueError(f"{p.shape} confidences cannot be those of {right.shape} answers")
    n, _ = _counted(right)
    place = np.minimum((p * bins).astype(int), bins - 1)
    return sum(abs(float(p[place == k].sum() - right[place == k].sum())) for k in range(bins)) / n


def auroc(scores: ArrayLike, positive: ArrayLike) -> float:
    """How often a positive scores higher than a negative, equals counting half (the area under the ROC curve).

    `scores`, `positive`: [n]. Scores 1, 2, 3 with the first and last positive are 0.5.

    Raises:
        ValueError: there are not both kinds.
    """
    values, kind = np.asarray(scores, dtype=float), np.asarray(positive, dtype=bool)
    if values.shape != kind.shape or not kind.any() or kind.all():
        raise ValueError("an area under the curve takes scores of positives and of negatives")
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    rank = count.cumsum() - (count - 1) / 2
    positives = int(kind.sum())
    above = rank[place][kind].sum() - positives * (positives + 1) / 2
    return float(above / (positives * (len(values) - positives)))


def mean(values: Sequence[float]) -> tuple[float, float]:
    """(mean, half the width of its 95 % interval): the normal approximation; the half is NaN for a single value.

    Raises:
        StatisticsError: there are no values.
    """
    spread = statistics.stdev(values) if len(values) > 1 else math.nan
    return statistics.mean(values), Z * spread / math.sqrt(len(values))


def chance(ways: int) -> float:
    """How often a guess among `ways` labels is right."""
    return 1 / ways


def best(scores: Mapping[str, float | Fraction], seed: int | str = 0) -> str:
    """The label of the highest score; among equals a seeded draw, so that no place in a list is an advantage."""
    top = max(scores.values())
    return random.Random(f"{seed}").choice(sorted(label for label, score in scores.items() if score == top))


def nearest_demonstration(
    query: Sequence[Sequence[int]],
    demonstrations: Sequence[tuple[str, Sequence[Sequence[int]]]],
    seed: int | str = 0,
) -> str:
    """The label of the demonstration whose bag of words has the highest cosine with the query's.

    Args:
        query: a row of codes per shown level; a code counts as another word on another level.
        demonstrations: (label, codes) of each. seed: of the draw among the labels that share the highest cosine.

    Raises:
        ValueError: there are no demonstrations.
    """
    if not demonstrations:
        raise ValueError("there are no demonstrations to be near to")
    asked = _bag(query)
    closeness: dict[str, Fraction] = {}
    for label, codes in demonstrations:
        shown = _bag(codes)
        # The cosine's square, less the query's own length: in whole numbers, so that equals are equal.
        product = sum(count * shown[word] for word, count in asked.items())
        cosine = Fraction(product**2, sum(count**2 for count in shown.values()) or 1)
        closeness[label] = max(cosine, closeness.get(label, Fraction(0)))
    return best(closeness, seed)


def _counted(correct: ArrayLike) -> tuple[int, float]:
    answers = np.asarray(correct, dtype=bool)
    if answers.ndim != 1 or not len(answers):
        raise ValueError(f"answers are a row of one or more, not of shape {answers.shape}")
    return len(answers), float(answers.mean())


def _bag(codes: Sequence[Sequence[int]]) -> Counter[tuple[int, int]]:
    return Counter((level, code) for level, row in enumerate(codes) for code in row)

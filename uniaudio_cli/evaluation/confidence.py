"""What probabilities are worth: reliability bins, the abstention curve, and clips whose label looks wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from uniaudio_cli.evaluation.manifest import Document

BINS = 10
# Shares of right answers that the abstention table names.
TARGETS = (0.8, 0.9, 0.95, 0.99)


class Bin(Document):
    """Answers of like confidence: its mean, the share that is right, and how many there are."""

    confidence: float
    accuracy: float
    n: int


class Coverage(Document):
    """Answering where confidence is `threshold` or more: the share answered, and the share of these that is right."""

    threshold: float
    coverage: float
    accuracy: float


def reliability(confidence: ArrayLike, correct: ArrayLike) -> list[Bin]:
    """Ten equal bins of confidence, empty ones left out (Guo et al. 2017). `confidence`, `correct`: [n].

    Confidences .9, .9, .2 of which the first and the last are right: (.2, 1, 1), (.9, .5, 2).
    """
    from scipy.stats import binned_statistic

    p, right = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    counts = binned_statistic(p, p, statistic="count", bins=BINS, range=(0.0, 1.0)).statistic
    sums = [
        binned_statistic(p, values, statistic="sum", bins=BINS, range=(0.0, 1.0)).statistic for values in (p, right)
    ]
    return [
        Bin(confidence=float(a / n), accuracy=float(b / n), n=int(n))
        for a, b, n in zip(*sums, counts, strict=True)
        if n
    ]


def abstention(confidence: ArrayLike, correct: ArrayLike) -> list[Coverage]:
    """The curve from answering everything to answering only the surest clips; equal confidences go together.

    .9 right, .8 wrong, .7 right: thresholds .7, .8, .9 cover 1, 2/3, 1/3 with 2/3, 1/2, 1 right.
    """
    p, right = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    order = np.argsort(-p, kind="stable")
    answered = np.arange(1, len(p) + 1)
    shares = np.cumsum(right[order]) / answered
    ends = np.flatnonzero(np.append(np.diff(p[order]) != 0, True))
    return [
        Coverage(threshold=float(p[order][end]), coverage=float(answered[end] / len(p)), accuracy=float(shares[end]))
        for end in ends[::-1]
    ]


def covered_at(curve: Sequence[Coverage], target: float) -> Coverage | None:
    """The point that answers the most with at least `target` right; None where there is none.

    The threshold is chosen on the very answers that it is judged by, so on new clips a little less is right.
    """
    good = [each for each in curve if each.accuracy >= target]
    return max(good, key=lambda each: each.coverage) if good else None


def likely_wrong_labels(truths: Sequence[str], scores: Sequence[Mapping[str, float]]) -> dict[int, str]:
    """Clips by place whose label looks wrong, and the label that fits (confident learning, Northcutt et al. 2021).

    A label's threshold is its mean probability over the clips that carry it. A clip counts where another label reaches
    that label's threshold and is the likeliest, and its own label does not reach its own.
    """
    own: dict[str, list[float]] = {}
    for truth, each in zip(truths, scores, strict=True):
        own.setdefault(truth, []).append(each.get(truth, 0.0))
    threshold = {label: float(np.mean(some)) for label, some in own.items()}
    found = {}
    for place, (truth, each) in enumerate(zip(truths, scores, strict=True)):
        other = max(each, key=lambda label: each[label])
        if other != truth and each[other] >= threshold.get(other, 1.0) and each.get(truth, 0.0) < threshold[truth]:
            found[place] = other
    return found

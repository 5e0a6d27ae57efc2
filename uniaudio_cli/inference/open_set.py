"""Open-set recognition: clips that are none of the labels, by their cosine to the demonstrations.

A clip's score is the mean of two cosines: to the nearest label's mean and to the nearest demonstration. Probabilities
do not show this: they sum to 1 over the labels, whatever the clip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from uniaudio_cli.codec.frozen.units import Array, unit
from uniaudio_cli.core.errors import UsageError

UNKNOWN = "unknown"
# Standard deviations below the mean leave-one-out score: on development clips, the same share of known clips is kept as
# of unknown ones is refused.
DEVIATIONS = 1.0


@dataclass(frozen=True)
class OpenSet:
    """`means` [L, F]: the direction of each label. `clips` [N, F]: all demonstrations. Rows have length 1."""

    means: Array
    clips: Array
    threshold: float

    def score(self, row: Array) -> float:
        """How near a clip, a row [F] of length 1, is to the demonstrations: -1 to 1."""
        return _score(row, self.means, self.clips)

    @classmethod
    def of(cls, demonstrations: Mapping[str, Sequence[Array]], threshold: float | None = None) -> OpenSet:
        """From the rows of each label's demonstrations. `threshold`: learnt where None.

        Raises:
            UsageError: nothing to learn from, as no label has two demonstrations.
        """
        rows = [np.asarray(each) for each in demonstrations.values()]
        if threshold is None:
            threshold = learn_threshold(rows)
        return cls(np.array([unit(each.mean(axis=0)) for each in rows]), np.concatenate(rows), threshold)


def learn_threshold(rows: Sequence[Array]) -> float:
    """The score that a clip of a label is expected to pass, from the demonstrations [n, F] of each label.

    Each demonstration of a label that has another is scored against the others of its label; the threshold lies
    `DEVIATIONS` below the mean of all these scores.

    Raises:
        UsageError: no label has two demonstrations.
    """
    scores = [
        _score(row, unit(np.delete(each, number, axis=0).mean(axis=0))[None], np.delete(each, number, axis=0))
        for each in rows
        if len(each) > 1
        for number, row in enumerate(each)
    ]
    if not scores:
        raise UsageError(
            "unknown_below auto learns its threshold from labels with two or more demonstrations, and there are none: "
            "give more shots, or the threshold (--unknown-below)"
        )
    return float(np.mean(scores) - DEVIATIONS * np.std(scores))


def _score(row: Array, means: Array, clips: Array) -> float:
    return float((means @ row).max() + (clips @ row).max()) / 2

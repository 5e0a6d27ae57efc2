"""Active learning: the clips that are most worth labelling next, uncertain and unlike each other."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np

from uniaudio_cli.inference.open_set import UNKNOWN
from uniaudio_cli.inference.results import LabelResult

# Per clip that is asked for, so many of the least certain are kept to choose from.
CANDIDATES = 10


def diverse(uncertainty: np.ndarray, features: np.ndarray, count: int) -> list[int]:
    """Up to `count` rows: the most uncertain first, then each time the largest product of uncertainty and distance.

    `uncertainty` [N], 0 to 1. `features` [N, F]; the distance is that to the nearest row that is chosen already. Rows
    at distance 0 are left out: they are copies.
    """
    if not len(uncertainty) or count < 1:
        return []
    chosen = [int(uncertainty.argmax())]
    distance = np.linalg.norm(features - features[chosen[0]], axis=1)
    while len(chosen) < count:
        best = int((uncertainty * distance).argmax())
        if uncertainty[best] * distance[best] <= 0:
            break
        chosen.append(best)
        distance = np.minimum(distance, np.linalg.norm(features - features[best], axis=1))
    return chosen


@dataclass
class Suggestions:
    """Chooses `count` clips of a run, in memory that does not grow with it."""

    count: int
    _kept: list[tuple[float, int, LabelResult]] = field(default_factory=list)
    _seen: int = 0

    def add(self, result: LabelResult) -> None:
        """One more clip to choose from."""
        self._seen += 1
        entry = (self.uncertainty(result), -self._seen, result)
        push = heapq.heappush if len(self._kept) < CANDIDATES * self.count else heapq.heappushpop
        push(self._kept, entry)

    def chosen(self) -> list[LabelResult]:
        """The clips, most worth labelling first."""
        kept = [result for _, _, result in sorted(self._kept, key=lambda entry: entry[:2], reverse=True)]
        if not kept:
            return []
        names = sorted(kept[0].scores)
        rows = [each.features if each.features is not None else [each.scores[name] for name in names] for each in kept]
        uncertainty = np.array([self.uncertainty(each) for each in kept])
        return [kept[number] for number in diverse(uncertainty, np.array(rows), self.count)]

    @staticmethod
    def uncertainty(result: LabelResult) -> float:
        """1 less the margin; 1 for a clip of no label."""
        return 1.0 if result.label == UNKNOWN else 1.0 - result.margin

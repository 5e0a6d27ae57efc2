"""An n-gram cache: ids that were heard in, how likely every id is next out. Knows ids only, never an LLM."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor


class NgramCache:
    """What was heard after what, counted: it remembers word for word what an LLM has only read.

    P(w | v) = weight (c(v w) + alpha) / (c(v) + alpha size) + (1 - weight) (c(w) + alpha) / (c + alpha size), with the
    counts of the clips; a clip's first id follows a mark of its own.

    Args:
        clips: a row of ids each. among: the ids that audio can have, `size` of them. alpha: what is added to every
            count. weight: of the bigrams.
    """

    def __init__(
        self, clips: Sequence[Sequence[int]], among: Sequence[int], alpha: float = 0.1, weight: float = 0.5
    ) -> None:
        self.place = {id: number for number, id in enumerate(among)}
        self.alpha, self.weight = alpha, weight
        self.after: dict[int | None, Counter[int]] = {}
        self._places: dict[tuple[int, ...], Tensor] = {}
        single = torch.full((len(self.place),), alpha, dtype=torch.float64)
        for previous, id in (pair for ids in clips for pair in self._pairs(ids)):
            self.after.setdefault(previous, Counter())[id] += 1
            single[id] += 1
        self.single = single / single.sum()

    def rows(self, ids: Sequence[int]) -> Tensor:
        """Log-probability of every id there is in the place of each of `ids`: float64 [len(ids), size]."""
        return torch.stack([self._next(previous) for previous, _ in self._pairs(ids)])

    def next(self, written: Sequence[int], allowed: tuple[int, ...]) -> Tensor:
        """Log-probability among `allowed` of each of them after what is written so far, float64 [len(allowed)]."""
        if allowed not in self._places:  # a grammar asks for the same tuples again and again
            self._places[allowed] = torch.tensor([self.place[id] for id in allowed])
        previous = self.place[written[-1]] if written else None
        return self._next(previous)[self._places[allowed]].log_softmax(dim=0)

    def _next(self, previous: int | None) -> Tensor:
        """Log-probability of every id after the one in a place, or first: float64 [size]."""
        row = (1 - self.weight) * self.single
        after = self.after.get(previous, Counter())
        share = self.weight / (after.total() + self.alpha * len(row))
        row += self.alpha * share
        for id, count in after.items():
            row[id] += count * share
        return row.log()

    def score(self, ids: Sequence[int], near: Tensor | None = None) -> Tensor:
        """Log-probability of each of `ids`, float64 [T]; `near` as `LanguageModel.score` takes it."""
        rows = self.rows(ids)
        if near is not None:
            return (rows + near).logsumexp(dim=1)
        return rows[range(len(ids)), [self.place[id] for id in ids]]

    def _pairs(self, ids: Sequence[int]) -> list[tuple[int | None, int]]:
        """The place among all ids of every id and of the one before it, None before the first."""
        places = [self.place[id] for id in ids]
        return list(zip([None, *places], places, strict=False))

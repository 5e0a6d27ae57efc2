"""N-gram cache model: interpolated n-gram counts over the demonstrations' ids (Kuhn and De Mori 1990)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor


class NgramCache:
    """Interpolated n-gram counts of a few clips, which keep what they say word for word.

    P(w | v) = weight (c(v w) + alpha) / (c(v) + alpha size) + (1 - weight) (c(w) + alpha) / (c + alpha size), with the
    counts of the clips; a clip's first id follows a start symbol. Where `order` is more than 2, the same again with
    two ids v, and so on, as far as such a v occurs, P of the shorter one in the place of the last term.

    Args:
        clips: a row of ids each. among: the ids that audio can have, `size` of them. alpha: what is added to every
            count. weight: of the longest n-grams, against all shorter ones. order: their length.
    """

    def __init__(
        self,
        clips: Sequence[Sequence[int]],
        among: Sequence[int],
        alpha: float = 0.1,
        weight: float = 0.5,
        order: int = 2,
    ) -> None:
        self.place = {id: number for number, id in enumerate(among)}
        self.alpha, self.weight, self.order = alpha, weight, order
        self.after: dict[tuple[int | None, ...], Counter[int]] = {}
        self._places: dict[tuple[int, ...], Tensor] = {}
        single = torch.full((len(self.place),), alpha, dtype=torch.float64)
        for before, id in (pair for ids in clips for pair in self._pairs(ids)):
            for length in range(1, len(before) + 1):
                self.after.setdefault(before[-length:], Counter())[id] += 1
            single[id] += 1
        self.single = single / single.sum()

    def rows(self, ids: Sequence[int]) -> Tensor:
        """Log-probability of every id there is in the place of each of `ids`: float64 [len(ids), size]."""
        return torch.stack([self._next(before) for before, _ in self._pairs(ids)])

    def next(self, generated: Sequence[int], allowed: tuple[int, ...]) -> Tensor:
        """Log-probability among `allowed` of each of them after what is generated so far, float64 [len(allowed)]."""
        if allowed not in self._places:  # a grammar allows the same few tuples again and again
            self._places[allowed] = torch.tensor([self.place[id] for id in allowed])
        last = [self.place[id] for id in generated[1 - self.order :]]
        before = (None, *last)[1 - self.order :]  # the start counts as an id, while it is in reach
        return self._next(before)[self._places[allowed]].log_softmax(dim=0)

    def _next(self, before: tuple[int | None, ...]) -> Tensor:
        """Log-probability of every id after those in the places `before`, None the start: float64 [size]."""
        row = self.single
        for length in range(1, len(before) + 1):
            after = self.after.get(before[-length:], Counter())
            if not after and length > 1:
                break
            share = self.weight / (after.total() + self.alpha * len(row))
            row = (1 - self.weight) * row + self.alpha * share
            for id, count in after.items():
                row[id] += count * share
        return row.log()

    def score(self, ids: Sequence[int], soft: Tensor | None = None) -> Tensor:
        """Log-probability of each of `ids`, float64 [T]; `soft` as `LanguageModel.score` takes it."""
        rows = self.rows(ids)
        if soft is not None:
            return (rows + soft).logsumexp(dim=1)
        return rows[range(len(ids)), [self.place[id] for id in ids]]

    def _pairs(self, ids: Sequence[int]) -> list[tuple[tuple[int | None, ...], int]]:
        """The places of the ids before every id, at most `order` - 1, None before the first, and its own."""
        places: list[int | None] = [None, *(self.place[id] for id in ids)]
        return [(tuple(places[max(0, n - self.order + 1) : n]), self.place[id]) for n, id in enumerate(ids, start=1)]

"""Packing: many continuations of one context in one row of ids, with the attention mask that keeps them apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# What is read after a context, and what is scored after that.
Pair = tuple[Sequence[int], Sequence[int]]


@dataclass(frozen=True)
class Packed:
    """Pairs side by side in one row of T ids: all that must be read to score them, what they share once.

    `ids`, `depth`: int64 [T], the ids and how far each stands behind the context. `sees`: bool [T, T], an id sees
    itself and those it follows. `places`: per pair, where each of its scored ids is foretold: 0 at the end of the
    context, n + 1 after `ids[n]`.
    """

    ids: Tensor
    depth: Tensor
    sees: Tensor
    places: list[list[int]]


def pack(pairs: Sequence[Pair]) -> Packed:
    """The last id of a pair is foretold and not read: 7 8 and 9 scored after 5 6 are the row 5 6 7."""
    follows: dict[tuple[int, int], int] = {}  # (place before, id) -> place
    before, ids, depth = [0], [0], [-1]  # place 0 is the context's end
    places: list[list[int]] = []
    for read, scored in pairs:
        path = [0]
        for id in (*read, *scored[:-1]):
            place = follows.setdefault((path[-1], id), len(ids))
            if place == len(ids):
                before.append(path[-1])
                ids.append(id)
                depth.append(depth[path[-1]] + 1)
            path.append(place)
        places.append(path[len(read) :])
    sees = torch.eye(len(ids), dtype=torch.bool)
    for place in range(1, len(ids)):
        sees[place] |= sees[before[place]]
    return Packed(torch.tensor(ids[1:]).long(), torch.tensor(depth[1:]).long(), sees[1:, 1:], places)


def fitting(pairs: Sequence[Pair], start: int, room: int) -> int:
    """Where to stop so that `pairs[start:stop]` are at most `room` ids to read, and at least one pair."""
    stop, used = start, 0
    last: Sequence[int] | None = None
    while stop < len(pairs):
        read, scored = pairs[stop]
        used += len(scored) - 1 + (0 if read is last else len(read))
        if used > room and stop > start:
            break
        last, stop = read, stop + 1
    return stop

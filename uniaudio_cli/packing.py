"""Many continuations of one context to one row of ids and who may see whom in it. Knows ids only, never an LLM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# A stem, which is read, and the leaves after it, which are scored.
Tree = tuple[Sequence[int], list[Sequence[int]]]


@dataclass(frozen=True)
class Packed:
    """Trees side by side in one row of T ids: all that must be read to score their leaves.

    `ids`, `depth`: int64 [T], the ids and how far each stands behind the context. `sees`: bool [T, T], an id sees the
    ids before it in its own leaf, and its stem. `places`: per leaf, where each of its ids is foretold: 0 at the end of
    the context, n + 1 after `ids[n]`.
    """

    ids: Tensor
    depth: Tensor
    sees: Tensor
    places: list[list[int]]


def pack(trees: Sequence[Tree]) -> Packed:
    """A leaf's last id is foretold and not read: the stem [5, 6] with leaves [7, 8] and [9] is the row 5 6 7."""
    ids: list[int] = []
    depth: list[int] = []
    spans: list[tuple[int, int, int, int]] = []  # of each piece and its stem: begin, end, stem's begin, stem's end
    places: list[list[int]] = []
    for stem, leaves in trees:
        root, trunk = len(ids), len(ids) + len(stem)
        ids += stem
        depth += range(len(stem))
        spans.append((root, trunk, root, root))
        for leaf in leaves:
            begin = len(ids)
            ids += leaf[:-1]
            depth += range(len(stem), len(stem) + len(leaf) - 1)
            spans.append((begin, len(ids), root, trunk))
            places.append([trunk if stem else 0, *range(begin + 1, len(ids) + 1)])
    sees = torch.zeros(len(ids), len(ids), dtype=torch.bool)
    for begin, end, root, trunk in spans:
        sees[begin:end, begin:end] = torch.ones(end - begin, end - begin, dtype=torch.bool).tril()
        sees[begin:end, root:trunk] = True
    return Packed(torch.tensor(ids, dtype=torch.int64), torch.tensor(depth, dtype=torch.int64), sees, places)


def first_trees(
    stems: Sequence[Sequence[int]], leaves: Sequence[Sequence[int]], start: int, room: int
) -> tuple[list[Tree], int]:
    """The next trees that fit into `room` ids, at least one leaf's; and where to go on.

    Every leaf follows every stem; `start` counts leaves, stem by stem.
    """
    trees: list[Tree] = []
    used, number = 0, start
    while number < len(stems) * len(leaves):
        stem, leaf = stems[number // len(leaves)], leaves[number % len(leaves)]
        begins = number == start or number % len(leaves) == 0
        used += len(leaf) - 1 + (len(stem) if begins else 0)
        if used > room and number > start:
            break
        if begins:
            trees.append((stem, []))
        trees[-1][1].append(leaf)
        number += 1
    return trees, number

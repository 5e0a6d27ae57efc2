"""Which few of many clips to show: their words or measures in, places or worth out. Never knows audio or an LLM."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def representatives(clips: Sequence[Sequence[int]], count: int) -> list[int]:
    """`count` places among `clips` (their words as codes), the most typical first, each next one where it helps most.

    Greedy facility location: each choice adds the most to the sum over all clips of the cosine, between bags of words,
    with the nearest that is chosen. Of equals the first. It looks at no query, so that what is chosen can be read once.
    """
    bags = torch.zeros(len(clips), 1 + max((max(codes, default=0) for codes in clips), default=0), dtype=torch.float64)
    for bag, codes in zip(bags, clips, strict=True):
        bag += torch.bincount(torch.tensor(codes, dtype=torch.int64), minlength=len(bag))
    bags = torch.nn.functional.normalize(bags, dim=1)
    alike: Tensor = bags @ bags.T
    nearest = torch.zeros(len(clips), dtype=torch.float64)
    chosen: list[int] = []
    for _ in range(min(count, len(clips))):
        gain = torch.maximum(alike, nearest).sum(dim=1)
        gain[chosen] = -1.0
        # Rounding is not to choose between equals.
        best = int((gain >= gain.max() - 1e-9).nonzero()[0])
        chosen.append(best)
        nearest = torch.maximum(nearest, alike[best])
    return chosen


def margins(copies: np.ndarray, originals: np.ndarray, kinds: Sequence[object]) -> list[float]:
    """How much nearer every copy is to another original of its own kind than to any of other kinds.

    `copies`, `originals`: float [n, D], the same n clips; `kinds`: what each is, [n]. Distances are Euclidean, every
    dimension in units of its spread over the originals. Where there is no other of its own kind, or of another, the
    missing distance counts as 0.
    """
    scale = originals.std(axis=0) + 1e-6
    apart = np.linalg.norm((copies[:, None] - originals[None]) / scale, axis=2)
    found = []
    for place, kind in enumerate(kinds):
        own = [apart[place, n] for n, other in enumerate(kinds) if other == kind and n != place]
        others = [apart[place, n] for n, other in enumerate(kinds) if other != kind]
        found.append(float(min(others, default=0.0) - min(own, default=0.0)))
    return found

"""Helpers on logits, masks and key/value caches that scoring and decoding share."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def share_cache(cache: Any) -> Any:
    """A cache that can grow while the original stays: layers are copied, tensors are shared until one grows."""
    grown = copy.copy(cache)
    grown.layers = [copy.copy(layer) for layer in cache.layers]
    return grown


def last_position(ids: Tensor) -> Tensor:
    """Of which place the logits are wanted, as a tensor: a slice's rows lie apart, and a batch of them is slow."""
    return torch.tensor([ids.shape[1] - 1], device=ids.device)


def select_ids(logits: Tensor, among: Sequence[int] | None) -> Tensor:
    """The logits [..., V] of some ids alone."""
    return logits if among is None else logits[..., torch.tensor(among, device=logits.device)]


def positions_of(ids: Sequence[int], among: Sequence[int] | None) -> list[int]:
    """Where the ids stand `among` those that count."""
    if among is None:
        return list(ids)
    place = {id: number for number, id in enumerate(among)}
    return [place[id] for id in ids]


def gather_logits(logits: Tensor, index: Sequence[int], places: Sequence[int], soft: Tensor | None) -> Tensor:
    """Logits [..., N, A] in rows `index`: those at `places`, or the sum over all that was `soft`; [..., len(index)]."""
    if soft is None:
        return logits[..., list(index), list(places)]
    return (logits[..., list(index), :] + soft.to(logits.device, logits.dtype)).logsumexp(dim=-1)


def keeps_all_positions(cache: Any) -> bool:
    """Whether every layer keeps all it has read: then a mask can say who sees whom."""
    from transformers.cache_utils import DynamicLayer

    return all(type(layer) is DynamicLayer for layer in cache.layers)


def is_out_of_memory(problem: RuntimeError) -> bool:
    said = str(problem).lower()
    return isinstance(problem, torch.OutOfMemoryError) or "out of memory" in said or "allocate memory" in said


def attention_mask(mask: Tensor) -> Tensor | None:
    """The mask where there is padding; without one, attention takes its quicker causal path."""
    return None if bool(mask.all()) else mask


def padded(rows: Sequence[Sequence[int]], left: bool) -> tuple[Tensor, Tensor]:
    """Rows of ids, padded on one side -> (ids, mask), int64 [B, T]; the mask is 1 where a row has an id."""
    longest = max(len(row) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        place = slice(longest - len(row), None) if left else slice(0, len(row))
        ids[number, place] = torch.tensor(row, dtype=torch.int64)
        mask[number, place] = 1
    return ids, mask

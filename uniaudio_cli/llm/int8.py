"""A copy of a causal LM for decoding on a CPU: 8-bit linear layers, a head of chosen rows, a preallocated cache.

Prefill is bound by arithmetic, decoding by memory: each step moves every weight once. The copy shares the original's
weights except its linear layers, which it can hold in 8 bits, and multiplies only the rows of the head that are needed.
With 8 bits the rest is float32: on a CPU, attention of one row over a bfloat16 cache is slower than over float32.
"""

from __future__ import annotations

import copy
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.cache_utils import DynamicLayer

ROOM = 256  # ids a cache grows by
SETS_KEPT = 32  # sets of chosen rows


class Linear8(nn.Module):
    """A linear layer whose weights are 8-bit integers with one scale a row; its inputs are rounded to bfloat16.

    [..., in] -> [..., out], of the input's dtype.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.float()
        # A hair more than it takes, as bfloat16 may round down, and 128 is no such integer.
        scale = (torch.linalg.vector_norm(weight, torch.inf, dim=1) / 126.5).clamp(min=1e-12).bfloat16()
        self.register_buffer("weight", (weight / scale.float()[:, None]).round_().to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias = None if linear.bias is None else linear.bias.float()

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1]).bfloat16()
        out = torch._weight_int8pack_mm(flat, self.weight, self.scale).to(x.dtype)
        return (out if self.bias is None else out + self.bias).view(*x.shape[:-1], -1)


class ChosenRows(nn.Module):
    """A head that gives the logits of chosen ids only: [..., in] -> [..., len(ids)]; of all where none are chosen."""

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.head = head
        # Of the running context: several threads may decode with one copy.
        self.ids: ContextVar[tuple[int, ...] | None] = ContextVar("ids", default=None)
        # A grammar asks for the same few sets again and again.
        self._rows: dict[tuple[int, ...], tuple[Tensor, Tensor | None]] = {}

    def forward(self, x: Tensor) -> Tensor:
        ids = self.ids.get()
        if ids is None:
            return self.head(x)
        rows = self._rows.get(ids)
        if rows is None:
            if len(self._rows) >= SETS_KEPT:
                self._rows.clear()
            place = torch.tensor(ids, device=self.head.weight.device)
            bias = None if self.head.bias is None else self.head.bias[place]
            rows = self._rows[ids] = self.head.weight[place], bias
        return F.linear(x, *rows)


class DecodingModel:
    """The copy; use `decoding_model`."""

    def __init__(self, model: Any, bits: int | None) -> None:
        eight = bits == 8 and hasattr(torch, "_weight_int8pack_mm")
        head = model.get_output_embeddings()
        layers = {name: each for name, each in model.named_modules() if type(each) is nn.Linear and each is not head}
        rounded = {id(each) for layer in layers.values() for each in layer.parameters()} if eight else set()
        kept: dict[int, Tensor] = {id(each): each for each in (*model.parameters(), *model.buffers())}
        for key, each in kept.items() if eight else ():
            if key not in rounded and each.is_floating_point() and each.dtype != torch.float32:
                kept[key] = nn.Parameter(each.float(), False) if isinstance(each, nn.Parameter) else each.float()
        self.model = copy.deepcopy(model, dict(kept))
        self.dtype = torch.float32 if eight else model.dtype
        self.head = ChosenRows(self.model.get_output_embeddings())
        for name, layer in layers.items() if eight else ():
            self.model.set_submodule(name, Linear8(layer))
        self.model.set_output_embeddings(self.head)

    def logits(self, rows: Tensor, ids: tuple[int, ...] | None, **options: Any) -> Tensor:
        """Logits [B, len(ids)] of the ids that may follow rows [B, T], of all where None; `options`: the model's."""
        token = self.head.ids.set(ids)
        try:
            return self.model(input_ids=rows, **options).logits[:, -1]
        finally:
            self.head.ids.reset(token)


def decoding_model(model: Any, bits: int | None) -> DecodingModel | None:
    """The copy of a model on a CPU, `bits`: 8 or None; None where the model is elsewhere or not a plain one."""
    plain = type(model.get_output_embeddings()) is nn.Linear and not hasattr(model, "hf_quantizer")
    return DecodingModel(model, bits) if plain and model.device.type == "cpu" else None


class PreallocatedLayer(DynamicLayer):
    """A cache layer that grows in place, by `ROOM` ids at a time, where the plain one is copied for every id."""

    keys: Tensor
    values: Tensor

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self.keys, self.values = keys, values
        # As they are shared with others so far, the first id moves them.
        self._whole = keys, values

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        start, stop = self.keys.shape[-2], self.keys.shape[-2] + key_states.shape[-2]
        if stop > self._whole[0].shape[-2]:
            self._whole = _grown(self.keys, stop + ROOM), _grown(self.values, stop + ROOM)
        keys, values = self._whole
        keys[:, :, start:stop] = key_states
        values[:, :, start:stop] = value_states
        self.keys, self.values = keys[:, :, :stop], values[:, :, :stop]
        return self.keys, self.values


def _grown(part: Tensor, length: int) -> Tensor:
    whole = part.new_empty(*part.shape[:2], length, part.shape[3])
    whole[:, :, : part.shape[2]] = part
    return whole


def preallocated(cache: Any, dtype: torch.dtype) -> Any:
    """The cache, of a dtype, with its plain layers made to grow in place; other kinds (sliding windows) stay."""
    plain = [type(layer) is DynamicLayer for layer in cache.layers]
    parts = zip(cache.layers, plain, strict=True)
    cache.layers = [
        PreallocatedLayer(layer.keys.to(dtype), layer.values.to(dtype)) if fits else layer for layer, fits in parts
    ]
    return cache

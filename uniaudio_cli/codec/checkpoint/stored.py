"""A checkpoint as read from disk, and the names of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from uniaudio_cli.codec.config import CodecConfig

QUANTIZER = "quantizer."
PROJECTED = "quantizer.quantizers.{}.projected"
CODEBOOK = "quantizer.quantizers.{}.codebook.weight"
# Weight norm in the old and the new spelling of PyTorch: magnitude, direction.
WEIGHT_NORM = (("weight_g", "weight_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1"))


@dataclass(frozen=True)
class StoredCodec:
    """A checkpoint of either form. `weights`, `description`: the files that errors name."""

    config: CodecConfig
    state: Mapping[str, Tensor]
    weights: Path
    description: Path


def fold_weight_norm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` with every pair of magnitude and direction, in either spelling, replaced by one float32 `weight`."""
    folded = dict(state)
    for magnitude, direction in WEIGHT_NORM:
        for name in [name for name in state if name.endswith("." + magnitude)]:
            stem = name.removesuffix(magnitude)
            g, v = state[name].float(), state.get(stem + direction, torch.empty(0)).float()
            if v.ndim > 1 and g.shape == (v.shape[0], *[1] * (v.ndim - 1)):
                del folded[name], folded[stem + direction]
                folded[stem + "weight"] = v * (g / v.flatten(1).norm(dim=1).view_as(g))
    return folded

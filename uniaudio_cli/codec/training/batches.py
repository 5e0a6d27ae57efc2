"""A batch of crops and what the teachers say of them -> tensors on the device. Never knows networks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from uniaudio_cli.codec.training.data import Batch, PackedAudio
from uniaudio_cli.codec.training.module import Inputs
from uniaudio_cli.codec.training.recipe import Recipe
from uniaudio_cli.codec.training.teachers import Targets


def autocast(recipe: Recipe, device: torch.device) -> torch.autocast:
    """bfloat16 within, where the recipe wants it."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=recipe.bfloat16)


def inputs(batch: Batch, packed: PackedAudio, targets: Targets, crop_frames: int, device: torch.device) -> Inputs:
    """`Inputs` of a batch; frames outside a clip are unknown to the teachers."""
    units = features = semantic = None
    count = len(batch.clips)
    if targets.units is not None and targets.reduced is not None:
        units = np.full((count, crop_frames), -1, dtype=np.int64)
        features = np.full((count, 2 * crop_frames, targets.reduced.shape[1]), np.nan, dtype=np.float32)
        for row, (clip, frame, tempo) in enumerate(zip(batch.clips, batch.frames, batch.tempos, strict=True)):
            first, last = packed.frame_range(int(clip))
            # Where the middle of each of the crop's frames and steps lies in the clip.
            there = first + frame + ((np.arange(crop_frames) + 0.5) * tempo).astype(np.int64)
            steps = 2 * (first + frame) + ((np.arange(2 * crop_frames) + 0.5) * tempo).astype(np.int64)
            units[row, there < last] = targets.units[there[there < last]]
            features[row, steps < 2 * last] = targets.reduced[steps[steps < 2 * last]]
    if targets.semantic is not None:
        semantic = targets.semantic[batch.clips].astype(np.float32)

    def placed(rows: np.ndarray | None) -> Tensor | None:
        return None if rows is None else torch.from_numpy(rows).to(device)

    # A clip's place decides its noise: the same at every resumption.
    seeds = [int(clip) * 100_003 + int(frame) for clip, frame in zip(batch.clips, batch.frames, strict=True)]
    clean = torch.from_numpy(batch.clean).to(device)
    heard = clean if batch.heard is batch.clean else torch.from_numpy(batch.heard).to(device)
    bends = placed(batch.bends)
    return Inputs(clean, heard, seeds, placed(units), placed(features), placed(semantic), bends)

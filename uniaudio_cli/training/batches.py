"""A batch of crops and the teachers' targets for it, as tensors on the device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from uniaudio_cli.training.data import Batch, PackedAudio
from uniaudio_cli.training.module import TrainingBatch
from uniaudio_cli.training.recipe import Recipe
from uniaudio_cli.training.teachers import Targets


def autocast(recipe: Recipe, device: torch.device) -> torch.autocast:
    """The recipe's autocast: bfloat16, whose range is that of float32, so no loss needs scaling; or none."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=recipe.bfloat16)


def training_batch(
    batch: Batch, packed: PackedAudio, targets: Targets, crop_frames: int, device: torch.device
) -> TrainingBatch:
    """The `TrainingBatch` of a batch; targets of frames after a clip's end are unknown."""
    units = features = semantic = None
    count = len(batch.clips)
    if targets.units is not None and targets.features is not None:
        units = np.full((count, crop_frames), -1, dtype=np.int64)
        features = np.full((count, 2 * crop_frames, targets.features.shape[1]), np.nan, dtype=np.float32)
        for row, (clip, frame, tempo) in enumerate(zip(batch.clips, batch.frames, batch.tempos, strict=True)):
            first, last = packed.frame_range(int(clip))
            # The clip's frames and steps at the middles of the crop's frames and steps.
            frame_rows = first + frame + ((np.arange(crop_frames) + 0.5) * tempo).astype(np.int64)
            step_rows = 2 * (first + frame) + ((np.arange(2 * crop_frames) + 0.5) * tempo).astype(np.int64)
            units[row, frame_rows < last] = targets.units[frame_rows[frame_rows < last]]
            features[row, step_rows < 2 * last] = targets.features[step_rows[step_rows < 2 * last]]
    if targets.semantic is not None:
        semantic = targets.semantic[batch.clips].astype(np.float32)

    def placed(rows: np.ndarray | None) -> Tensor | None:
        return None if rows is None else torch.from_numpy(rows).to(device)

    # Noise seeds depend on the crop's place alone, so a resumed run draws the same noise.
    seeds = [int(clip) * 100_003 + int(frame) for clip, frame in zip(batch.clips, batch.frames, strict=True)]
    clean = torch.from_numpy(batch.clean).to(device)
    encoder_input = clean if batch.encoder_input is batch.clean else torch.from_numpy(batch.encoder_input).to(device)
    return TrainingBatch(
        clean, encoder_input, seeds, placed(units), placed(features), placed(semantic), placed(batch.vtlp_factors)
    )

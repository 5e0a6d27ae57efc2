"""Validation of a codec in training: losses on held-out clips, and decoded samples as audio and pictures."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from uniaudio_cli.audio.io import write_wav
from uniaudio_cli.codec.quality import spectrograms
from uniaudio_cli.training.batches import autocast, training_batch
from uniaudio_cli.training.data import Crops, PackedAudio
from uniaudio_cli.training.module import TrainingModule
from uniaudio_cli.training.recipe import Recipe
from uniaudio_cli.training.teachers import Targets

SPLIT = "validation"


class Validator:
    """Evaluates on crops of the validation split that are the same for every seed and process."""

    def __init__(self, recipe: Recipe, packed: PackedAudio, targets: Targets, folder: Path) -> None:
        self.recipe, self.packed, self.targets, self.folder = recipe, packed, targets, folder

    @property
    def has_clips(self) -> bool:
        """Whether the packed audio has a validation split."""
        return bool((self.packed.splits == SPLIT).any())

    @cached_property
    def crops(self) -> Crops:
        recipe = self.recipe
        return Crops(self.packed, SPLIT, recipe.batch_size, recipe.crop_frames, recipe.kind_weights, 0.0, seed=0)

    @torch.no_grad()
    def __call__(self, module: TrainingModule, step: int, device: torch.device) -> dict[str, float]:
        """Mean losses, `mel` always among them, and the accuracy of level 0 on the teacher's units."""
        recipe = self.recipe
        values: dict[str, list[float]] = {}
        for number in range(recipe.validation.batches):
            batch = self.crops.batch(number)
            given = training_batch(batch, self.packed, self.targets, recipe.crop_frames, device)
            with autocast(recipe, device):
                found, decoded = module(given)
            if decoded is not None:
                found["mel"] = module.spectral(decoded, given.clean)["mel"]
            if given.units is not None:
                found["unit_accuracy"] = _unit_accuracy(module, given.encoder_input, given.units)
            for name, value in found.items():
                values.setdefault(name, []).append(float(value))
            if number == 0 and decoded is not None:
                self._write_samples(given.clean, decoded, step, module.codec.sample_rate)
        return {name: float(np.mean(each)) for name, each in values.items()}

    def _write_samples(self, clean: Tensor, decoded: Tensor, step: int, sample_rate: int) -> None:
        folder = self.folder / "samples"
        for row in range(min(self.recipe.validation.samples, len(clean))):
            name = f"{row:02d}-step-{step:06d}"
            write_wav(folder / f"{name}.wav", decoded[row].float().cpu().clamp(-1, 1), sample_rate, force=True)
            if step <= self.recipe.validation.every:
                write_wav(folder / f"{row:02d}-original.wav", clean[row].cpu(), sample_rate, force=True)
            spectrograms(folder / f"{name}.png", {"original": clean[row], f"step {step}": decoded[row]}, sample_rate)


def _unit_accuracy(module: TrainingModule, encoder_input: Tensor, units: Tensor) -> Tensor:
    """The share of known frames whose level-0 code is the teacher's unit."""
    _, for_coarse = module.codec.latents(encoder_input)
    codes = module.codec.quantizer.levels()[0](for_coarse).codes
    known = units >= 0
    return (codes[known] == units[known]).float().mean()

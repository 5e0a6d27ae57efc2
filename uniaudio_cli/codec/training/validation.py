"""How a codec in training does on clips it is not trained on: losses, and samples to hear and to look at."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from uniaudio_cli.audio.io import write_wav
from uniaudio_cli.codec.quality import spectrograms
from uniaudio_cli.codec.training.batches import autocast, inputs
from uniaudio_cli.codec.training.data import Crops, PackedAudio
from uniaudio_cli.codec.training.module import TrainingModule
from uniaudio_cli.codec.training.recipe import Recipe
from uniaudio_cli.codec.training.teachers import Targets

SPLIT = "validation"


class Validator:
    """The same crops of the validation split every time, whatever the run's seed and process."""

    def __init__(self, recipe: Recipe, packed: PackedAudio, targets: Targets, folder: Path) -> None:
        self.recipe, self.packed, self.targets, self.folder = recipe, packed, targets, folder

    @property
    def possible(self) -> bool:
        """Whether there is anything to validate on."""
        return bool((self.packed.splits == SPLIT).any())

    @cached_property
    def crops(self) -> Crops:
        recipe = self.recipe
        return Crops(self.packed, SPLIT, recipe.batch_size, recipe.crop_frames, recipe.kind_weights, 0.0, seed=0)

    @torch.no_grad()
    def __call__(self, trainee: TrainingModule, step: int, device: torch.device) -> dict[str, float]:
        """Mean losses, `mel` among them whatever the recipe wants, and the share of units that level 0 names right."""
        recipe = self.recipe
        sums: dict[str, list[float]] = {}
        for number in range(recipe.validation.batches):
            batch = self.crops.batch(number)
            given = inputs(batch, self.packed, self.targets, recipe.crop_frames, device)
            with autocast(recipe, device):
                found, made = trainee(given)
            if made is not None:
                found["mel"] = trainee.spectral(made, given.clean)["mel"]
            if given.units is not None:
                found["unit_accuracy"] = _named_right(trainee, given.heard, given.units)
            for name, value in found.items():
                sums.setdefault(name, []).append(float(value))
            if number == 0 and made is not None:
                self._write_samples(given.clean, made, step, trainee.codec.sample_rate)
        return {name: float(np.mean(values)) for name, values in sums.items()}

    def _write_samples(self, clean: Tensor, made: Tensor, step: int, sample_rate: int) -> None:
        folder = self.folder / "samples"
        for row in range(min(self.recipe.validation.samples, len(clean))):
            name = f"{row:02d}-step-{step:06d}"
            write_wav(folder / f"{name}.wav", made[row].float().cpu().clamp(-1, 1), sample_rate, force=True)
            if step <= self.recipe.validation.every:
                write_wav(folder / f"{row:02d}-original.wav", clean[row].cpu(), sample_rate, force=True)
            spectrograms(folder / f"{name}.png", {"original": clean[row], f"step {step}": made[row]}, sample_rate)


def _named_right(trainee: TrainingModule, heard: Tensor, units: Tensor) -> Tensor:
    _, for_coarse = trainee.codec.latents(heard)
    codes = trainee.codec.quantizer.levels()[0](for_coarse).codes
    known = units >= 0
    return (codes[known] == units[known]).float().mean()

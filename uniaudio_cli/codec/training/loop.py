"""The trainer: a recipe in, a run folder out (resumable state, metrics.jsonl, the codec as safetensors + JSON).

A step depends only on the recipe, the step number and the state before it, so a run killed at any moment and resumed
gives the same losses as one that was never stopped.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from uniaudio_cli.codec.checkpoint import save_codec
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.codec.training import losses
from uniaudio_cli.codec.training.data import Batch, PackedAudio, crops
from uniaudio_cli.codec.training.recipe import Recipe
from uniaudio_cli.codec.training.teachers import Units
from uniaudio_cli.files import atomic


@dataclass(frozen=True)
class Progress:
    """One report of a running training: `losses` are means since the last one."""

    step: int
    steps: int
    seconds_per_step: float
    losses: dict[str, float]

    def __str__(self) -> str:
        minutes = (self.steps - self.step) * self.seconds_per_step / 60
        means = ", ".join(f"{name} {value:.3f}" for name, value in self.losses.items())
        return f"step {self.step}/{self.steps}, {self.seconds_per_step:.2f} s a step, {minutes:.0f} min left: {means}"


class Trainee(nn.Module):
    """The codec with what only training needs: the adapter from its coarse levels to the teacher's features."""

    def __init__(self, codec: Codec, teacher_dim: int) -> None:
        super().__init__()
        self.codec = codec
        self.adapter = nn.Linear(codec.config.latent_dim, teacher_dim)
        self.spectral = losses.SpectralLoss(codec.sample_rate)

    def forward(self, wav: Tensor, units: Tensor | None, features: Tensor | None) -> dict[str, Tensor]:
        """Every loss of one batch, unweighted. wav [B, 1, T]; units [B, T0]; features [B, T1, R]."""
        latent = self.codec.encoder(wav).float()
        with torch.autocast(latent.device.type, enabled=False):
            quantised = self.codec.quantizer(latent)
        made = self.codec.decoder(quantised.latent)
        with torch.autocast(latent.device.type, enabled=False):
            mel, stft = self.spectral(made, wav)
            found = {
                "mel": mel,
                "stft": stft,
                "commitment": losses.commitment(quantised),
                "codebook": losses.codebook(quantised),
                "entropy": losses.negative_entropy(quantised),
            }
            if units is not None and features is not None:
                coarse, fine = quantised.levels[:2]
                ratio = fine.chosen.shape[-1] // coarse.chosen.shape[-1]
                through = [level.latent + (level.chosen - level.latent).detach() for level in (coarse, fine)]
                both = through[0].repeat_interleave(ratio, dim=-1) + through[1]
                found["units"] = losses.unit_loss(coarse, units)
                found["consistency"] = losses.consistency_loss(self.adapter(both.transpose(1, 2)), features)
        return found


def teacher_targets(batch: Batch, packed: PackedAudio, teacher: Units, crop_frames: int) -> tuple[Tensor, Tensor]:
    """Units int64 [B, T0] (-1 outside the clip) and features float32 [B, 2 T0, R] (NaN outside) of a batch's crops."""
    units = np.full((len(batch.clips), crop_frames), -1, dtype=np.int64)
    features = np.full((len(batch.clips), 2 * crop_frames, teacher.reduced.shape[1]), np.nan, dtype=np.float32)
    for row, (clip, frame) in enumerate(zip(batch.clips, batch.frames, strict=True)):
        first, last = packed.frame_range(int(clip))
        start, stop = first + frame, min(first + frame + crop_frames, last)
        units[row, : stop - start] = teacher.units[start:stop]
        features[row, : 2 * (stop - start)] = teacher.reduced[2 * start : 2 * stop]
    return torch.from_numpy(units), torch.from_numpy(features)


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up, constant, linear to zero over the last `decay` share: until then a run can be lengthened."""
    warm = min(1.0, (step + 1) / recipe.warmup)
    left = (recipe.steps - step) / max(1.0, recipe.decay * recipe.steps)
    return recipe.learning_rate * warm * min(1.0, left)


class Trainer:
    """One run in `folder`. `run()` trains to the recipe's last step, saving every `recipe.save_every` steps."""

    def __init__(
        self,
        recipe: Recipe,
        codec: Codec,
        packed: PackedAudio,
        teacher: Units | None,
        folder: Path,
        device: torch.device,
    ) -> None:
        self.recipe, self.packed, self.teacher, self.folder, self.device = recipe, packed, teacher, folder, device
        self.model = Trainee(codec, teacher.reduced.shape[1] if teacher is not None else 1).to(device)
        if recipe.compile:
            self.model.codec.encoder.compile()
            self.model.codec.decoder.compile()
        trainable = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(trainable, lr=recipe.learning_rate, betas=(0.8, 0.99), weight_decay=0.01)
        self.step = 0

    def resume(self) -> bool:
        """Take up the last saved state; False where there is none."""
        state_file = self.folder / "state.pt"
        if not state_file.exists():
            return False
        state = torch.load(state_file, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]
        return True

    def save(self) -> None:
        """Write the resumable state and the codec, each atomically."""
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
        }
        with atomic(self.folder / "state.pt", force=True) as temporary:
            torch.save(state, temporary)
        save_codec(
            self.model.codec,
            self.folder / f"{self.recipe.name}.safetensors",
            codebook_dtype=torch.float16,  # exactly what they are: see `new_codec`
            force=True,
        )

    def losses_of(self, batch: Batch) -> dict[str, Tensor]:
        """Forward one batch."""
        wav = torch.from_numpy(batch.wav).to(self.device)
        units = features = None
        if self.teacher is not None:
            units, features = (
                t.to(self.device) for t in teacher_targets(batch, self.packed, self.teacher, self.recipe.crop_frames)
            )
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.recipe.bfloat16):
            return self.model(wav, units, features)

    def run(self, report: Callable[[Progress], None] = lambda progress: None) -> None:
        """Train until `recipe.steps`; `report` is called every `recipe.report_every` steps."""
        recipe = self.recipe
        batches: Iterator[Batch] = crops(
            self.packed,
            "train",
            recipe.batch_size,
            recipe.crop_frames,
            dict(recipe.kind_weights),
            recipe.gain_db,
            recipe.seed,
            self.step,
        )
        self.model.train()
        sums: dict[str, float] = {}
        started, since = time.perf_counter(), self.step
        while self.step < recipe.steps:
            for group in self.optimiser.param_groups:
                group["lr"] = learning_rate(recipe, self.step)
            found = self.losses_of(next(batches))
            total = torch.stack([recipe.losses.get(name, 0.0) * value for name, value in found.items()]).sum()
            self.optimiser.zero_grad(set_to_none=True)
            total.backward()
            norm = nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip_gradient)
            if math.isfinite(float(norm)):
                self.optimiser.step()
            self.step += 1
            for name, value in (*found.items(), ("gradient", norm)):
                sums[name] = sums.get(name, 0.0) + float(value.detach())
            if self.step % recipe.report_every == 0 or self.step == recipe.steps:
                count = self.step - since
                progress = Progress(
                    self.step,
                    recipe.steps,
                    (time.perf_counter() - started) / count,
                    {k: v / count for k, v in sums.items()},
                )
                with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as log:
                    log.write(
                        json.dumps({"step": self.step, **{k: round(v, 5) for k, v in progress.losses.items()}}) + "\n"
                    )
                report(progress)
                sums, started, since = {}, time.perf_counter(), self.step
            if self.step % recipe.save_every == 0 or self.step == recipe.steps:
                self.save()

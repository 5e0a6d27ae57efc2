"""The training loop: a recipe to a run folder with resumable state, metrics, samples and the codec.

A step depends on the recipe, the step number and the state before it alone, so a run that is killed and resumed has the
same losses as an uninterrupted one. accelerate runs it on one process or many, on CPU or GPU.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from uniaudio_cli.codec.checkpoint import save_codec
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.core.paths import atomic
from uniaudio_cli.training.batches import autocast, training_batch
from uniaudio_cli.training.data import Crops, PackedAudio
from uniaudio_cli.training.discriminators import (
    Discriminators,
    adversarial_loss,
    discriminator_loss,
    feature_matching_loss,
)
from uniaudio_cli.training.module import TrainingModule, frozen_parameters
from uniaudio_cli.training.recipe import Recipe
from uniaudio_cli.training.teachers import Targets
from uniaudio_cli.training.validation import Validator

BETAS = (0.8, 0.99)


@dataclass(frozen=True)
class Progress:
    """A progress report. `losses`: means since the last report."""

    step: int
    steps: int
    seconds_per_step: float
    losses: dict[str, float]

    def __str__(self) -> str:
        minutes = (self.steps - self.step) * self.seconds_per_step / 60
        means = ", ".join(f"{name} {value:.3f}" for name, value in self.losses.items())
        return f"step {self.step}/{self.steps}, {self.seconds_per_step:.2f} s a step, {minutes:.0f} min left: {means}"


def learning_rate(recipe: Recipe, step: int) -> float:
    """Factor of the learning rate: linear warm-up, constant, linear to 0 over the last `decay_fraction` of steps."""
    warm = min(1.0, (step + 1) / recipe.warmup_steps) if recipe.warmup_steps else 1.0
    left = (recipe.steps - step) / max(1.0, recipe.decay_fraction * recipe.steps)
    return warm * min(1.0, left)


class MetricMeans:
    """Running means of named metrics."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Count one value of each metric."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value.detach())
            self.counts[name] = self.counts.get(name, 0) + 1

    def pop(self) -> dict[str, float]:
        """The means since the last call."""
        means = {name: value / self.counts[name] for name, value in self.sums.items()}
        self.sums, self.counts = {}, {}
        return means


class Trainer:
    """One run in `folder`. `run` trains to the recipe's last step and saves every `recipe.save_every` steps."""

    def __init__(
        self,
        recipe: Recipe,
        codec: Codec,
        packed: PackedAudio,
        targets: Targets,
        folder: Path,
        accelerator: Accelerator,
    ) -> None:
        self.recipe, self.packed, self.targets, self.folder = recipe, packed, targets, folder
        self.accelerator = accelerator
        loss_names = {name for name in recipe.losses if recipe.weight(name)}
        frame_dim, text_dim = (0 if rows is None else rows.shape[1] for rows in (targets.features, targets.semantic))
        module = TrainingModule(codec, loss_names, frame_dim, text_dim, recipe.trainable)
        self.averaged: AveragedModel | None = None
        if recipe.ema_decay:
            average = get_ema_multi_avg_fn(recipe.ema_decay)
            self.averaged = AveragedModel(module, accelerator.device, multi_avg_fn=average)
        if recipe.compile:
            for network in codec.networks():
                network.compile()
        trainable = [p for p in module.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(trainable, lr=recipe.learning_rate, betas=BETAS, weight_decay=0.01)
        self.model, self.optimiser = accelerator.prepare(module, optimiser)
        self.discriminators: Any = None
        if recipe.discriminators is not None:
            settings = recipe.discriminators
            discriminators = Discriminators(codec.sample_rate, settings.hops, settings.channels)
            own = torch.optim.AdamW(
                discriminators.parameters(), lr=settings.learning_rate, betas=BETAS, weight_decay=0.01
            )
            self.discriminators, self.discriminator_optimiser = accelerator.prepare(discriminators, own)
        self.crops = Crops(
            packed,
            "train",
            recipe.batch_size,
            recipe.crop_frames,
            recipe.kind_weights,
            recipe.gain_db,
            recipe.seed,
            recipe.tempo,
            recipe.band_limit_probability,
            recipe.degrade_probability,
            recipe.vtlp,
        )
        self.validator = Validator(recipe, packed, targets, folder)
        self.step = 0
        self.best = math.inf

    @property
    def module(self) -> TrainingModule:
        """The model without accelerate's wrappers."""
        return self.accelerator.unwrap_model(self.model, keep_torch_compile=False)

    @property
    def evaluated(self) -> TrainingModule:
        """The module that is validated and saved: with averaged weights where the recipe has `ema_decay`."""
        return self.module if self.averaged is None else cast(TrainingModule, self.averaged.module)

    def resume(self) -> None:
        """Load the last saved state."""
        state = torch.load(self.folder / "state.pt", map_location="cpu", weights_only=True)
        self.module.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.best = state["step"], state.get("best", math.inf)
        # A resumed run may add averaging or discriminators.
        if self.averaged is not None and "averaged" in state:
            self.averaged.load_state_dict(state["averaged"])
        if self.discriminators is not None and "discriminators" in state:
            self.accelerator.unwrap_model(self.discriminators).load_state_dict(state["discriminators"])
            self.discriminator_optimiser.load_state_dict(state["discriminator_optimiser"])

    def save(self) -> None:
        """Write the codec and the resumable state, each atomically."""
        if not self.accelerator.is_main_process:
            return
        state: dict[str, Any] = {
            "model": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "best": self.best,
        }
        if self.averaged is not None:
            state["averaged"] = self.averaged.state_dict()
        if self.discriminators is not None:
            state["discriminators"] = self.accelerator.unwrap_model(self.discriminators).state_dict()
            state["discriminator_optimiser"] = self.discriminator_optimiser.state_dict()
        self._write_codec(self.recipe.name)
        # Last, so that the state is never newer than the codec beside it.
        with atomic(self.folder / "state.pt", force=True) as temporary:
            torch.save(state, temporary)

    def _write_codec(self, name: str) -> None:
        codec = self.evaluated.codec
        # `words.codebooks` rounds the codebooks to float16, so this is exact.
        save_codec(codec, self.folder / f"{name}.safetensors", codebook_dtype=torch.float16, force=True)

    def _log(self, kind: str, values: Mapping[str, float]) -> None:
        if self.accelerator.is_main_process:
            row = {"step": self.step, "split": kind, **{name: round(value, 5) for name, value in values.items()}}
            with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(row) + "\n")

    @property
    def adversarial(self) -> bool:
        """Whether the discriminators are used at this step."""
        return self.recipe.discriminators is not None and self.step >= self.recipe.discriminators.start

    def run(self, report: Callable[[Progress], None] = lambda progress: None) -> None:
        """Train until `recipe.steps`; `report` is called every `recipe.log_every` steps."""
        recipe = self.recipe
        means = MetricMeans()
        started, since = time.perf_counter(), self.step
        self.model.train()
        while self.step < recipe.steps:
            means.add(self._one_step())
            self.step += 1
            last = self.step == recipe.steps
            if self.step % recipe.log_every == 0 or last:
                seconds = (time.perf_counter() - started) / (self.step - since)
                progress = Progress(self.step, recipe.steps, seconds, means.pop())
                self._log("train", progress.losses)
                if self.accelerator.is_main_process:
                    report(progress)
                started, since = time.perf_counter(), self.step
            if self.step % recipe.validation.every == 0 or last:
                self._validate()
            if self.step % recipe.save_every == 0 or last:
                self.save()

    def _one_step(self) -> dict[str, Tensor]:
        """One update from `gradient_accumulation` batches; returns the last batch's losses."""
        recipe, accelerator = self.recipe, self.accelerator
        for optimiser, rate in self._optimisers():
            for group in optimiser.param_groups:
                group["lr"] = rate * learning_rate(recipe, self.step)
            optimiser.zero_grad(set_to_none=True)
        found: dict[str, Tensor] = {}
        for part in range(recipe.gradient_accumulation):
            crops = self.crops.batch(self.step * recipe.gradient_accumulation + part, accelerator.process_index)
            batch = training_batch(crops, self.packed, self.targets, recipe.crop_frames, accelerator.device)
            accumulates = part < recipe.gradient_accumulation - 1
            with accelerator.no_sync(self.model) if accumulates else contextlib.nullcontext():
                with autocast(recipe, accelerator.device):
                    found, decoded = self.model(batch)
                if self.adversarial and decoded is not None:
                    found |= self._adversarial_losses(decoded, batch.clean)
                total = torch.stack(
                    [recipe.weight(name) * found[name] for name in sorted(self.module.loss_names & found.keys())]
                )
                accelerator.backward(total.sum() / recipe.gradient_accumulation)
        norm = accelerator.clip_grad_norm_(self.model.parameters(), recipe.gradient_clip_norm)
        # The update of a batch with a non-finite gradient is skipped, so that it does not end the run.
        if math.isfinite(float(norm)):
            self.optimiser.step()
            if self.averaged is not None:
                self.averaged.update_parameters(self.module)
            if self.adversarial:
                self.discriminator_optimiser.step()
        return found | {"gradient": torch.as_tensor(norm)}

    def _optimisers(self) -> list[tuple[Any, float]]:
        found = [(self.optimiser, self.recipe.learning_rate)]
        if self.recipe.discriminators is not None:
            found.append((self.discriminator_optimiser, self.recipe.discriminators.learning_rate))
        return found

    def _adversarial_losses(self, decoded: Tensor, clean: Tensor) -> dict[str, Tensor]:
        """Backpropagate the discriminators' loss; return it with the codec's adversarial losses."""
        recipe, accelerator, discriminators = self.recipe, self.accelerator, self.discriminators
        with autocast(recipe, accelerator.device):
            own = discriminator_loss(discriminators(clean), discriminators(decoded.detach()))
        accelerator.backward(own / recipe.gradient_accumulation)
        # The codec's losses give the discriminators no gradient.
        with frozen_parameters(discriminators), autocast(recipe, accelerator.device):
            output = discriminators(decoded)
            with torch.no_grad():
                real = discriminators(clean)
            adversarial, matching = adversarial_loss(output), feature_matching_loss(real, output)
        return {"adversarial": adversarial, "feature_matching": matching, "discriminators": own.detach()}

    def _validate(self) -> None:
        """Log the validation losses, and save the codec as NAME-best where its mel loss is the lowest so far.

        Where nothing is decoded, the unit or the consistency loss counts.
        """
        if not self.accelerator.is_main_process or not self.validator.has_clips:
            return
        self.evaluated.eval()
        found = self.validator(self.evaluated, self.step, self.accelerator.device)
        self.evaluated.train()
        self._log("validation", found)
        score = next(found[name] for name in ("mel", "units", "consistency") if name in found)
        if score < self.best:
            self.best = score
            self._write_codec(f"{self.recipe.name}-best")

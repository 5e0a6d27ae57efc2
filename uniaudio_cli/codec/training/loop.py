"""The trainer: a recipe in, a run folder out (resumable state, metrics, samples, the codec as safetensors + JSON).

A step depends only on the recipe, the step number and the state before it, so a run killed at any moment and resumed
gives the same losses as one that was never stopped. One process or many, CPU or GPU: accelerate sees to that.
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

from uniaudio_cli.codec.checkpoint.own import save_codec
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.codec.training.batches import autocast, inputs
from uniaudio_cli.codec.training.data import Crops, PackedAudio
from uniaudio_cli.codec.training.discriminators import (
    Discriminators,
    adversarial_loss,
    discriminator_loss,
    feature_loss,
)
from uniaudio_cli.codec.training.module import TrainingModule, frozen_parameters
from uniaudio_cli.codec.training.recipe import Recipe
from uniaudio_cli.codec.training.teachers import Targets
from uniaudio_cli.codec.training.validation import Validator
from uniaudio_cli.core.paths import atomic

BETAS = (0.8, 0.99)


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


def learning_rate(recipe: Recipe, step: int) -> float:
    """Share of the full rate: linear warm-up, constant, linear to zero over the last `decay` share of the steps.

    Until the decay begins, a run can be lengthened.
    """
    warm = min(1.0, (step + 1) / recipe.warmup) if recipe.warmup else 1.0
    left = (recipe.steps - step) / max(1.0, recipe.decay * recipe.steps)
    return warm * min(1.0, left)


class Means:
    """Sums of named numbers since the last time they were taken."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value.detach())
            self.counts[name] = self.counts.get(name, 0) + 1

    def taken(self) -> dict[str, float]:
        means = {name: value / self.counts[name] for name, value in self.sums.items()}
        self.sums, self.counts = {}, {}
        return means


class Trainer:
    """One run in `folder`. `run()` trains to the recipe's last step, saving every `recipe.save_every` steps."""

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
        wanted = {name for name in recipe.losses if recipe.weight(name)}
        frame_dim, text_dim = (0 if rows is None else rows.shape[1] for rows in (targets.reduced, targets.semantic))
        trainee = TrainingModule(codec, wanted, frame_dim, text_dim, recipe.trains)
        self.averaged: AveragedModel | None = None
        if recipe.average:
            mean = get_ema_multi_avg_fn(recipe.average)
            self.averaged = AveragedModel(trainee, accelerator.device, multi_avg_fn=mean)
        if recipe.compile:
            for network in codec.networks():
                network.compile()
        trainable = [p for p in trainee.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(trainable, lr=recipe.learning_rate, betas=BETAS, weight_decay=0.01)
        self.model, self.optimiser = accelerator.prepare(trainee, optimiser)
        self.discriminators: Any = None
        if recipe.discriminators is not None:
            given = recipe.discriminators
            judges = Discriminators(codec.sample_rate, given.hops, given.channels)
            opponent = torch.optim.AdamW(judges.parameters(), lr=given.learning_rate, betas=BETAS, weight_decay=0.01)
            self.discriminators, self.opponent = accelerator.prepare(judges, opponent)
        self.crops = Crops(
            packed,
            "train",
            recipe.batch_size,
            recipe.crop_frames,
            recipe.kind_weights,
            recipe.gain_db,
            recipe.seed,
            recipe.tempo,
            recipe.narrow_probability,
            recipe.degrade_probability,
            recipe.vtlp,
        )
        self.validator = Validator(recipe, packed, targets, folder)
        self.step = 0
        self.best = math.inf

    @property
    def trainee(self) -> TrainingModule:
        """The model without what accelerate wrapped around it."""
        return self.accelerator.unwrap_model(self.model, keep_torch_compile=False)

    @property
    def result(self) -> TrainingModule:
        """What is validated and written: the mean of the weights where the recipe wants one."""
        return self.trainee if self.averaged is None else cast(TrainingModule, self.averaged.module)

    def resume(self) -> None:
        """Take up the last saved state."""
        state = torch.load(self.folder / "state.pt", map_location="cpu", weights_only=True)
        self.trainee.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.best = state["step"], state.get("best", math.inf)
        # A run may take on a mean or discriminators where it is resumed.
        if self.averaged is not None and "averaged" in state:
            self.averaged.load_state_dict(state["averaged"])
        if self.discriminators is not None and "discriminators" in state:
            self.accelerator.unwrap_model(self.discriminators).load_state_dict(state["discriminators"])
            self.opponent.load_state_dict(state["opponent"])

    def save(self) -> None:
        """Write the resumable state and the codec, each atomically."""
        if not self.accelerator.is_main_process:
            return
        state: dict[str, Any] = {
            "model": self.trainee.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "best": self.best,
        }
        if self.averaged is not None:
            state["averaged"] = self.averaged.state_dict()
        if self.discriminators is not None:
            state["discriminators"] = self.accelerator.unwrap_model(self.discriminators).state_dict()
            state["opponent"] = self.opponent.state_dict()
        self._write_codec(self.recipe.name)
        # Last, so that a state never lies beside an older codec.
        with atomic(self.folder / "state.pt", force=True) as temporary:
            torch.save(state, temporary)

    def _write_codec(self, name: str) -> None:
        codec = self.result.codec
        # The codebooks are float16 numbers already: see `run.new_codec`.
        save_codec(codec, self.folder / f"{name}.safetensors", codebook_dtype=torch.float16, force=True)

    def _log(self, kind: str, values: Mapping[str, float]) -> None:
        if self.accelerator.is_main_process:
            row = {"step": self.step, "split": kind, **{name: round(value, 5) for name, value in values.items()}}
            with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(row) + "\n")

    def autocast(self) -> torch.autocast:
        """bfloat16 where the recipe wants it; its range is float32's, so no loss needs scaling."""
        return autocast(self.recipe, self.accelerator.device)

    @property
    def judged(self) -> bool:
        """Whether the discriminators have a say at this step."""
        return self.recipe.discriminators is not None and self.step >= self.recipe.discriminators.start

    def run(self, report: Callable[[Progress], None] = lambda progress: None) -> None:
        """Train until `recipe.steps`; `report` is called every `recipe.report_every` steps."""
        recipe = self.recipe
        means = Means()
        started, since = time.perf_counter(), self.step
        self.model.train()
        while self.step < recipe.steps:
            means.add(self._one_step())
            self.step += 1
            last = self.step == recipe.steps
            if self.step % recipe.report_every == 0 or last:
                seconds = (time.perf_counter() - started) / (self.step - since)
                progress = Progress(self.step, recipe.steps, seconds, means.taken())
                self._log("train", progress.losses)
                if self.accelerator.is_main_process:
                    report(progress)
                started, since = time.perf_counter(), self.step
            if self.step % recipe.validation.every == 0 or last:
                self._validate()
            if self.step % recipe.save_every == 0 or last:
                self.save()

    def _one_step(self) -> dict[str, Tensor]:
        """One update from `accumulate` batches; the last batch's losses."""
        recipe, accelerator = self.recipe, self.accelerator
        for optimiser, rate in self._optimisers():
            for group in optimiser.param_groups:
                group["lr"] = rate * learning_rate(recipe, self.step)
            optimiser.zero_grad(set_to_none=True)
        found: dict[str, Tensor] = {}
        for part in range(recipe.accumulate):
            batch = self.crops.batch(self.step * recipe.accumulate + part, accelerator.process_index)
            given = inputs(batch, self.packed, self.targets, recipe.crop_frames, accelerator.device)
            waits = part < recipe.accumulate - 1
            with accelerator.no_sync(self.model) if waits else contextlib.nullcontext():
                with self.autocast():
                    found, made = self.model(given)
                if self.judged and made is not None:
                    found |= self._judge(made, given.clean)
                total = torch.stack(
                    [recipe.weight(name) * found[name] for name in sorted(self.trainee.wanted & found.keys())]
                )
                accelerator.backward(total.sum() / recipe.accumulate)
        norm = accelerator.clip_grad_norm_(self.model.parameters(), recipe.clip_gradient)
        # One bad batch must not end a run of hours: its update is left out.
        if math.isfinite(float(norm)):
            self.optimiser.step()
            if self.averaged is not None:
                self.averaged.update_parameters(self.trainee)
            if self.judged:
                self.opponent.step()
        return found | {"gradient": torch.as_tensor(norm)}

    def _optimisers(self) -> list[tuple[Any, float]]:
        found = [(self.optimiser, self.recipe.learning_rate)]
        if self.recipe.discriminators is not None:
            found.append((self.opponent, self.recipe.discriminators.learning_rate))
        return found

    def _judge(self, made: Tensor, clean: Tensor) -> dict[str, Tensor]:
        """Gradients for the discriminators, and what they ask of the codec."""
        accelerator, judges = self.accelerator, self.discriminators
        with self.autocast():
            own = discriminator_loss(judges(clean), judges(made.detach()))
        accelerator.backward(own / self.recipe.accumulate)
        # The codec's gradient must not become theirs.
        with frozen_parameters(judges), self.autocast():
            heard = judges(made)
            with torch.no_grad():
                real = judges(clean)
            asked = {"adversarial": adversarial_loss(heard), "features": feature_loss(real, heard)}
        return {**asked, "discriminators": own.detach()}

    def _validate(self) -> None:
        """Log the validation split's losses; keep the codec where its spectra were never closer, or its units where it
        makes no sound."""
        if not self.accelerator.is_main_process or not self.validator.possible:
            return
        self.result.eval()
        found = self.validator(self.result, self.step, self.accelerator.device)
        self.result.train()
        self._log("validation", found)
        score = next(found[name] for name in ("mel", "units", "consistency") if name in found)
        if score < self.best:
            self.best = score
            self._write_codec(f"{self.recipe.name}-best")

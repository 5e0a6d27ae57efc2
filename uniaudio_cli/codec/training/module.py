"""The codec with what only training needs, and every loss of one batch. Never knows data or steps."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from uniaudio_cli.codec.model import Codec
from uniaudio_cli.codec.quantizer import LevelOutput
from uniaudio_cli.codec.training import losses

USUAL_DB = -23.0  # of clips that are not brought to a level


@dataclass(frozen=True)
class Inputs:
    """One batch on the device. `clean`, `heard`: float32 [B, 1, T]. What is unknown of a teacher's is None.

    `units`: int64 [B, T0], -1 unknown. `features`: float32 [B, 2 T0, R], NaN unknown. `semantic`: float32 [B, S], NaN
    unknown. `seeds`: of the decoder's noise, one a clip, where it has any. `bends`: float32 [B], as `small.bent` takes
    them, for level 0's own encoder where it alone learns.
    """

    clean: Tensor
    heard: Tensor
    seeds: Sequence[int]
    units: Tensor | None = None
    features: Tensor | None = None
    semantic: Tensor | None = None
    bends: Tensor | None = None


class TrainingModule(nn.Module):
    """The codec, and the adapters from its coarse levels to what the teachers say (0 dimensions: no such teacher)."""

    def __init__(
        self, codec: Codec, wanted: Collection[str], frame_dim: int = 0, text_dim: int = 0, trains: str = "all"
    ) -> None:
        super().__init__()
        self.codec = codec
        self.trains = trains
        self.wanted = frozenset(wanted)
        self.spectral = losses.SpectralLoss(codec.sample_rate)
        level_db = codec.config.level_db
        self.loudness = losses.LoudnessLoss(codec.sample_rate, USUAL_DB if level_db is None else level_db)
        self.envelope = losses.EnvelopeLoss(codec.sample_rate)
        latent = codec.config.latent_dim
        self.adapter = nn.Linear(latent, frame_dim) if frame_dim else None
        self.text_adapter = nn.Linear(latent, text_dim) if text_dim else None
        self._hold_still()

    def _hold_still(self) -> None:
        """Take the gradients of all that does not learn."""
        codec = self.codec
        coarse = [codec.quantizer.levels()[0].cb_proj] + ([codec.coarse_encoder] if codec.coarse_encoder else [])
        if self.trains in ("coarse", "decoder"):
            self.requires_grad_(False)
        if self.trains == "decoder":
            codec.decoder.requires_grad_(True)
        elif self.trains == "coarse":
            for part in (*coarse, self.adapter):
                if part is not None:
                    part.requires_grad_(True)
        elif self.trains == "fine":
            for part in coarse:
                part.requires_grad_(False)

    def forward(self, batch: Inputs) -> tuple[dict[str, Tensor], Tensor | None]:
        """(every wanted loss that needs no discriminator, unweighted; what the codec made, [B, 1, T], None where level
        0's own encoder learns alone)."""
        if self.trains == "coarse":
            return self._coarse_losses(batch), None
        device = batch.heard.device.type
        latent, for_coarse = self.codec.latents(batch.heard)
        with torch.autocast(device, enabled=False):
            quantised = self.codec.quantizer(latent, for_coarse)
        generators = [torch.Generator().manual_seed(seed) for seed in batch.seeds]
        made = self.codec.decoder(quantised.latent, generators).float()
        again, coarse_again = self._heard_again(made) if "cycle" in self.wanted else (None, None)
        with torch.autocast(device, enabled=False):
            found = self.spectral(made, batch.clean)
            if "loudness" in self.wanted:
                found["loudness"] = self.loudness(made, batch.clean)
            if "envelope" in self.wanted:
                found["envelope"] = self.envelope(made, batch.clean)
            found["time"] = (made - batch.clean).abs().mean()
            found["commitment"] = losses.commitment(quantised)
            found["codebook"] = losses.codebook(quantised)
            found["entropy"] = losses.negative_entropy(quantised)
            coarse = quantised.levels[0]
            if again is not None and coarse_again is not None:
                found["cycle"] = losses.cycle_loss(latent, coarse, again, coarse_again)
            if batch.units is not None:
                found["units"] = losses.unit_loss(coarse, batch.units)
            if batch.features is not None and self.adapter is not None:
                fine = quantised.levels[1]
                ratio = fine.chosen.shape[-1] // coarse.chosen.shape[-1]
                both = coarse.through().repeat_interleave(ratio, dim=-1) + fine.through()
                found["consistency"] = losses.consistency_loss(self.adapter(both.transpose(1, 2)), batch.features)
            if batch.semantic is not None and self.text_adapter is not None:
                said = self.text_adapter(coarse.through().mean(dim=-1))
                found["semantic"] = losses.semantic_loss(said, batch.semantic)
        return {name: value for name, value in found.items() if name in self.wanted}, made

    def _coarse_losses(self, batch: Inputs) -> dict[str, Tensor]:
        """What level 0's own encoder is taught by, from crops that may be spoiled and bent."""
        assert self.codec.coarse_encoder is not None
        latent = self.codec.coarse_encoder(batch.heard, batch.bends).float()
        found = {}
        with torch.autocast(batch.heard.device.type, enabled=False):
            if batch.units is not None:
                found["units"] = losses.unit_loss(self.codec.quantizer.levels()[0](latent), batch.units)
            if batch.features is not None and self.adapter is not None:
                ratio = latent.shape[-1] // batch.features.shape[1]
                steps = torch.nn.functional.avg_pool1d(latent, ratio, ratio).transpose(1, 2)
                found["consistency"] = losses.consistency_loss(self.adapter(steps), batch.features)
        return {name: value for name, value in found.items() if name in self.wanted}

    def _heard_again(self, made: Tensor) -> tuple[Tensor, LevelOutput]:
        """The latent and level 0 of what was decoded."""
        level = self.codec.quantizer.levels()[0]
        with contextlib.ExitStack() as stack:
            for part in (*self.codec.encoders(), level):
                stack.enter_context(frozen_parameters(part))
            latent, for_coarse = self.codec.latents(made)
            with torch.autocast(made.device.type, enabled=False):
                return latent, level(for_coarse)


@contextlib.contextmanager
def frozen_parameters(module: nn.Module) -> Iterator[None]:
    """What is computed within has no gradient for the module's weights, though one for its input."""
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)

"""`TrainingModule`: the codec with the adapters that only training needs, and the losses of one batch."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from uniaudio_cli.codec.model import Codec
from uniaudio_cli.codec.quantizer import LevelOutput
from uniaudio_cli.training import losses

DEFAULT_LEVEL_DB = -23.0  # for the loudness loss of a codec without a level of its own


@dataclass(frozen=True)
class TrainingBatch:
    """One batch on the device. Targets without a teacher are None.

    `clean`: the target, and `encoder_input`, the same or degraded: float32 [B, 1, T]. `seeds`: one a clip, of the
    decoder's noise. `units`: int64 [B, T0], -1 where unknown. `features`: float32 [B, 2 T0, R], NaN where unknown.
    `semantic`: float32 [B, S], NaN where unknown. `vtlp_factors`: float32 [B], for `small.warp_mel`; used where level
    0's own encoder is trained alone.
    """

    clean: Tensor
    encoder_input: Tensor
    seeds: Sequence[int]
    units: Tensor | None = None
    features: Tensor | None = None
    semantic: Tensor | None = None
    vtlp_factors: Tensor | None = None


class TrainingModule(nn.Module):
    """The codec, and linear adapters from its coarse levels to the teachers' features.

    Args:
        loss_names: the losses to compute.
        frame_dim: dimensions of the frame teacher's features; 0 for no such teacher.
        text_dim: dimensions of the text teacher's vectors; 0 for no such teacher.
        trainable: the recipe's `trainable`: which part has gradients.
    """

    def __init__(
        self,
        codec: Codec,
        loss_names: Collection[str],
        frame_dim: int = 0,
        text_dim: int = 0,
        trainable: str = "all",
    ) -> None:
        super().__init__()
        self.codec = codec
        self.trainable = trainable
        self.loss_names = frozenset(loss_names)
        self.spectral = losses.SpectralLoss(codec.sample_rate)
        level_db = codec.config.level_db
        self.loudness = losses.LoudnessLoss(codec.sample_rate, DEFAULT_LEVEL_DB if level_db is None else level_db)
        self.envelope = losses.EnvelopeLoss(codec.sample_rate)
        latent = codec.config.latent_dim
        self.adapter = nn.Linear(latent, frame_dim) if frame_dim else None
        self.text_adapter = nn.Linear(latent, text_dim) if text_dim else None
        self._freeze()

    def _freeze(self) -> None:
        """Remove the gradients of all parts that are not trained."""
        codec = self.codec
        coarse = [codec.quantizer.levels()[0].cb_proj] + ([codec.coarse_encoder] if codec.coarse_encoder else [])
        if self.trainable in ("coarse", "decoder"):
            self.requires_grad_(False)
        if self.trainable == "decoder":
            codec.decoder.requires_grad_(True)
        elif self.trainable == "coarse":
            for part in (*coarse, self.adapter):
                if part is not None:
                    part.requires_grad_(True)
        elif self.trainable in ("fine", "codes"):
            for part in [*coarse, *([codec.decoder] if self.trainable == "codes" else [])]:
                part.requires_grad_(False)

    def forward(self, batch: TrainingBatch) -> tuple[dict[str, Tensor], Tensor | None]:
        """All losses that need no discriminator, unweighted, and the decoded wav [B, 1, T].

        The wav is None where level 0's own encoder is trained alone.
        """
        if self.trainable == "coarse":
            return self._coarse_losses(batch), None
        device = batch.encoder_input.device.type
        latent, for_coarse = self.codec.latents(batch.encoder_input)
        with torch.autocast(device, enabled=False):
            quantized = self.codec.quantizer(latent, for_coarse)
        generators = [torch.Generator().manual_seed(seed) for seed in batch.seeds]
        decoded = self.codec.decoder(quantized.latent, generators).float()
        reencoded = self._reencode(decoded) if "cycle" in self.loss_names else None
        with torch.autocast(device, enabled=False):
            found = self.spectral(decoded, batch.clean)
            if "loudness" in self.loss_names:
                found["loudness"] = self.loudness(decoded, batch.clean)
            if "envelope" in self.loss_names:
                found["envelope"] = self.envelope(decoded, batch.clean)
            found["time"] = (decoded - batch.clean).abs().mean()
            found["commitment"] = losses.commitment_loss(quantized)
            found["codebook"] = losses.codebook_loss(quantized)
            found["entropy"] = losses.entropy_loss(quantized)
            coarse = quantized.levels[0]
            if reencoded is not None:
                found["cycle"] = losses.cycle_loss(latent, coarse, *reencoded)
            if batch.units is not None:
                found["units"] = losses.unit_loss(coarse, batch.units)
            if batch.features is not None and self.adapter is not None:
                fine = quantized.levels[1]
                ratio = fine.quantized.shape[-1] // coarse.quantized.shape[-1]
                both = coarse.straight_through().repeat_interleave(ratio, dim=-1) + fine.straight_through()
                found["consistency"] = losses.consistency_loss(self.adapter(both.transpose(1, 2)), batch.features)
            if batch.semantic is not None and self.text_adapter is not None:
                predicted = self.text_adapter(coarse.straight_through().mean(dim=-1))
                found["semantic"] = losses.semantic_loss(predicted, batch.semantic)
        return {name: value for name, value in found.items() if name in self.loss_names}, decoded

    def _coarse_losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """The losses of level 0's own encoder, whose input may be degraded and warped."""
        assert self.codec.coarse_encoder is not None
        latent = self.codec.coarse_encoder(batch.encoder_input, batch.vtlp_factors).float()
        found = {}
        with torch.autocast(batch.encoder_input.device.type, enabled=False):
            if batch.units is not None:
                found["units"] = losses.unit_loss(self.codec.quantizer.levels()[0](latent), batch.units)
            if batch.features is not None and self.adapter is not None:
                ratio = latent.shape[-1] // batch.features.shape[1]
                steps = torch.nn.functional.avg_pool1d(latent, ratio, ratio).transpose(1, 2)
                found["consistency"] = losses.consistency_loss(self.adapter(steps), batch.features)
        return {name: value for name, value in found.items() if name in self.loss_names}

    def _reencode(self, decoded: Tensor) -> tuple[Tensor, LevelOutput]:
        """The latent and level 0's output of a decoded wav, with a gradient for the wav alone."""
        level = self.codec.quantizer.levels()[0]
        with contextlib.ExitStack() as stack:
            for part in (*self.codec.encoders(), level):
                stack.enter_context(frozen_parameters(part))
            latent, for_coarse = self.codec.latents(decoded)
            with torch.autocast(decoded.device.type, enabled=False):
                return latent, level(for_coarse)


@contextlib.contextmanager
def frozen_parameters(module: nn.Module) -> Iterator[None]:
    """Within this context, results have gradients for the module's input but none for its weights."""
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)

"""What the codec is trained towards: one function of tensors a loss, weighted by the recipe. Never knows data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uniaudio_cli.codec.quality import FLOOR, spectral_distance
from uniaudio_cli.codec.quantise import LevelOutput, Quantised
from uniaudio_cli.codec.small import mel_filters

SHARPNESS = 16.0  # cosine -> logit: with unit vectors and a few hundred codes, 16 lets a sure choice be sure
SPREAD_SHARPNESS = 48.0  # sharper: the spread that counts is that of the hard choices
BANDS = 6
BAND_WINDOW = 1024


class SpectralLoss(nn.Module):
    """Distance of two wavs [B, 1, T] over several resolutions: {mel, stft, subband}, three scalars.

    mel: L1 between log-mel spectra. stft: spectral convergence plus L1 between log-magnitudes. Both use one STFT per
    window, hop a quarter of it. subband: the stft distance of each of six equal bands of the 1,024 window by itself, so
    that what is weak above 4 kHz counts as much as what is strong below.
    """

    def __init__(
        self, sample_rate: int, windows: Sequence[int] = (256, 512, 1024, 2048), bins: Sequence[int] = (24, 48, 80, 128)
    ) -> None:
        super().__init__()
        self.windows = tuple(windows)
        for window, count in zip(windows, bins, strict=True):
            self.register_buffer(f"hann_{window}", torch.hann_window(window), persistent=False)
            self.register_buffer(f"mel_{window}", mel_filters(count, window, sample_rate), persistent=False)

    def magnitude(self, wav: Tensor, window: int) -> Tensor:
        hann = self.get_buffer(f"hann_{window}")
        spectrum = torch.stft(wav[:, 0], window, window // 4, window=hann, center=True, return_complex=True)
        return (spectrum.real.square() + spectrum.imag.square() + 1e-8).sqrt() * (2 / window) ** 0.5

    def forward(self, made: Tensor, target: Tensor) -> dict[str, Tensor]:
        mel, stft, subband = (made.new_zeros(()) for _ in range(3))
        for window in self.windows:
            a = self.magnitude(made, window)
            with torch.no_grad():
                b = self.magnitude(target, window)
            filters = self.get_buffer(f"mel_{window}")
            mel = mel + F.l1_loss((filters @ a + FLOOR).log(), (filters @ b + FLOOR).log())
            stft = stft + spectral_distance(a, b)
            if window == BAND_WINDOW:
                bands = zip(a.tensor_split(BANDS, dim=1), b.tensor_split(BANDS, dim=1), strict=True)
                subband = torch.stack([spectral_distance(low, high) for low, high in bands]).mean()
        return {"mel": mel / len(self.windows), "stft": stft / len(self.windows), "subband": subband}


def commitment(quantised: Quantised) -> Tensor:
    """The latent is pulled towards its code, summed over levels."""
    return torch.stack([F.mse_loss(level.latent, level.chosen.detach()) for level in quantised.levels]).sum()


def codebook(quantised: Quantised) -> Tensor:
    """The code (through its trainable projection) is pulled towards the latent, summed over levels."""
    return torch.stack([F.mse_loss(level.chosen, level.latent.detach()) for level in quantised.levels]).sum()


def negative_entropy(quantised: Quantised) -> Tensor:
    """Minus the entropy of the mean soft assignment, summed over levels: low when a batch spreads over the codes.

    A frozen codebook cannot move to where the latents are, and collapses without this term.
    """
    total = []
    for level in quantised.levels:
        mean = (SPREAD_SHARPNESS * level.similarity).softmax(dim=-1).mean(dim=(0, 1))
        total.append((mean * (mean + 1e-8).log()).sum())
    return torch.stack(total).sum()


def unit_loss(level: LevelOutput, units: Tensor) -> Tensor:
    """Level 0 names the teacher's unit of each frame: cross-entropy. `units`: int64 [B, T], -1 where unknown."""
    logits = (SHARPNESS * level.similarity).flatten(0, 1)
    known = units.flatten() >= 0
    if not bool(known.any()):
        return logits.sum() * 0.0
    return F.cross_entropy(logits[known], units.flatten()[known])


def semantic_loss(prediction: Tensor, vectors: Tensor) -> Tensor:
    """Mean squared distance of a clip's mean level-0 output to its text's vector. Both [B, R]; NaN rows are unknown."""
    return consistency_loss(prediction[:, None], vectors[:, None])


def consistency_loss(prediction: Tensor, features: Tensor) -> Tensor:
    """Mean squared distance to the teacher's features where there are any. Both [B, T, R]; NaN rows are unknown."""
    known = ~features.isnan().any(dim=-1)
    if not bool(known.any()):
        return prediction.sum() * 0.0
    return F.mse_loss(prediction[known], features[known])

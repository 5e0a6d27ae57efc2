"""Mel-spectrogram discriminators and their hinge losses, for adversarial training (UniAudio 1.5, section 3.2).

Each works on the log-mel spectrogram of one hop (32 to 1,024 samples at the published setting) and classifies its
patches as recorded or decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from uniaudio_cli.audio.features import LogMel

WINDOW_HOPS = 4
SLOPE = 0.1


@dataclass(frozen=True)
class DiscriminatorOutput:
    """One discriminator's output. `logits`: [B, 1, F', T'], high for recorded; `features`: of the inner layers."""

    logits: Tensor
    features: tuple[Tensor, ...]


class MelDiscriminator(nn.Module):
    """Two-dimensional convolutions over a log-mel spectrum of `bins` bands at one hop."""

    def __init__(self, sample_rate: int, hop: int, channels: int, bins: int = 64) -> None:
        super().__init__()
        fft = WINDOW_HOPS * hop
        # A short window has too few frequency bins for so many bands; an empty filter would be a dead input.
        self.log_mel = LogMel(sample_rate, fft, hop, min(bins, fft // 8), eps=1e-8)
        widths = (1, channels, channels, channels, channels)
        strides = ((1, 1), (2, 2), (2, 2), (1, 1))
        self.inner = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, 3, stride=stride, padding=1))
            for a, b, stride in zip(widths, widths[1:], strides, strict=False)
        )
        self.output = weight_norm(nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, wav: Tensor) -> DiscriminatorOutput:
        with torch.autocast(wav.device.type, enabled=False):
            x = self.log_mel(wav[:, 0].float())[:, None]
        features = []
        for layer in self.inner:
            x = F.leaky_relu(layer(x), SLOPE)
            features.append(x)
        return DiscriminatorOutput(self.output(x), tuple(features))


class Discriminators(nn.Module):
    """One `MelDiscriminator` per hop; wav [B, 1, T] -> their outputs."""

    def __init__(self, sample_rate: int, hops: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        self.each = nn.ModuleList(
            MelDiscriminator(sample_rate, hop, count) for hop, count in zip(hops, channels, strict=True)
        )

    def forward(self, wav: Tensor) -> list[DiscriminatorOutput]:
        return [discriminator(wav) for discriminator in self.each]


def discriminator_loss(real: Sequence[DiscriminatorOutput], decoded: Sequence[DiscriminatorOutput]) -> Tensor:
    """Hinge loss of the discriminators: recorded patches above 1, decoded ones below -1; the mean over them."""
    each = [F.relu(1 - r.logits).mean() + F.relu(1 + d.logits).mean() for r, d in zip(real, decoded, strict=True)]
    return torch.stack(each).mean()


def adversarial_loss(decoded: Sequence[DiscriminatorOutput]) -> Tensor:
    """The codec's adversarial loss: minus the mean logit of decoded patches, the mean over discriminators."""
    return torch.stack([-d.logits.mean() for d in decoded]).mean()


def feature_matching_loss(real: Sequence[DiscriminatorOutput], decoded: Sequence[DiscriminatorOutput]) -> Tensor:
    """L1 distance of the discriminators' inner layers, relative to their mean size on the recording; the mean."""
    each = [
        F.l1_loss(b, a.detach()) / a.detach().abs().mean().clamp(min=1e-4)
        for r, d in zip(real, decoded, strict=True)
        for a, b in zip(r.features, d.features, strict=True)
    ]
    return torch.stack(each).mean()

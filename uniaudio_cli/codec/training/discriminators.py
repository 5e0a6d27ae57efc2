"""Six mel-spectrogram discriminators and their hinge losses: wav [B, 1, T] in, judgements out. Never knows the codec.

Each looks at one resolution (hop 32 to 1,024 at the published setting) and says of every patch of its log-mel spectrum
whether it was recorded or made (UniAudio 1.5, section 3.2). Needed in training only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from uniaudio_cli.audio.features import mel_filters

WINDOW_HOPS = 4
SLOPE = 0.1


@dataclass(frozen=True)
class Judgement:
    """What one discriminator makes of a batch. `logits`: [B, 1, F', T']; `features`: its inner layers' outputs."""

    logits: Tensor
    features: tuple[Tensor, ...]


class MelDiscriminator(nn.Module):
    """Two-dimensional convolutions over a log-mel spectrum of `bins` bands at one hop."""

    window: Tensor
    filters: Tensor

    def __init__(self, sample_rate: int, hop: int, channels: int, bins: int = 64) -> None:
        super().__init__()
        self.hop = hop
        fft = WINDOW_HOPS * hop
        # Short windows cannot tell so many bands apart; a filter without a bin would be a dead input.
        bins = min(bins, fft // 8)
        self.register_buffer("window", torch.hann_window(fft), persistent=False)
        self.register_buffer("filters", mel_filters(bins, fft, sample_rate), persistent=False)
        widths = (1, channels, channels, channels, channels)
        strides = ((1, 1), (2, 2), (2, 2), (1, 1))
        self.inner = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, 3, stride=stride, padding=1))
            for a, b, stride in zip(widths, widths[1:], strides, strict=False)
        )
        self.judge = weight_norm(nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, wav: Tensor) -> Judgement:
        with torch.autocast(wav.device.type, enabled=False):
            spectrum = torch.stft(
                wav[:, 0].float(), len(self.window), self.hop, window=self.window, center=True, return_complex=True
            )
            power = spectrum.real.square() + spectrum.imag.square() + 1e-8
            x = (self.filters @ power.sqrt() + 1e-3).log()[:, None]
        features = []
        for layer in self.inner:
            x = F.leaky_relu(layer(x), SLOPE)
            features.append(x)
        return Judgement(self.judge(x), tuple(features))


class Discriminators(nn.Module):
    """One `MelDiscriminator` a hop."""

    def __init__(self, sample_rate: int, hops: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        self.each = nn.ModuleList(
            MelDiscriminator(sample_rate, hop, count) for hop, count in zip(hops, channels, strict=True)
        )

    def forward(self, wav: Tensor) -> list[Judgement]:
        return [judge(wav) for judge in self.each]


def discriminator_loss(real: Sequence[Judgement], made: Sequence[Judgement]) -> Tensor:
    """Hinge: recorded patches above 1, made ones below -1; the mean over discriminators."""
    each = [F.relu(1 - r.logits).mean() + F.relu(1 + m.logits).mean() for r, m in zip(real, made, strict=True)]
    return torch.stack(each).mean()


def adversarial_loss(made: Sequence[Judgement]) -> Tensor:
    """What the codec is told: made patches should look recorded. The mean over discriminators."""
    return torch.stack([-m.logits.mean() for m in made]).mean()


def feature_loss(real: Sequence[Judgement], made: Sequence[Judgement]) -> Tensor:
    """L1 between the discriminators' inner layers, each relative to its size on the recording; the mean."""
    each = [
        F.l1_loss(b, a.detach()) / a.detach().abs().mean().clamp(min=1e-4)
        for r, m in zip(real, made, strict=True)
        for a, b in zip(r.features, m.features, strict=True)
    ]
    return torch.stack(each).mean()

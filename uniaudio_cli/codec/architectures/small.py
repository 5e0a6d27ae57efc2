"""The small architecture: log-mel and ConvNeXt blocks to the latent, ConvNeXt blocks and an inverse STFT back.

Made for CPUs: the only operation at the sample rate is one STFT each way. The encoder's receptive field is about 0.7 s
on each side. The decoder's head predicts log-magnitude and phase per bin, as Vocos does (Siuzdak, 2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uniaudio_cli.audio.features import LogMel
from uniaudio_cli.codec.architectures.base import Architecture, Count
from uniaudio_cli.core.schema import Schema

SUBHOP = 240  # samples per mel frame
FFT = 960
MEL_FFT = 1024
LATENT_RATE = 2  # mel frames per latent frame
HOP = SUBHOP * LATENT_RATE


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over 7 frames, then two pointwise layers; [B, C, T] -> [B, C, T]."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.widen = nn.Linear(channels, 3 * channels)
        self.narrow = nn.Linear(3 * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), 1.0 / depth))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm(self.depthwise(x).transpose(1, 2))
        return x + (self.scale * self.narrow(F.gelu(self.widen(inner)))).transpose(1, 2)


def _norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    return norm(x.transpose(1, 2)).transpose(1, 2)


class SmallEncoder(nn.Module):
    """wav [B, 1, T] (T a multiple of 480) -> latent [B, D, T / 480], each frame of unit variance."""

    def __init__(
        self,
        latent_dim: int,
        sample_rate: int,
        mel_bins: int,
        fine_channels: int,
        fine_blocks: int,
        channels: int,
        blocks: int,
    ) -> None:
        super().__init__()
        self.log_mel = LogMel(sample_rate, MEL_FFT, SUBHOP, mel_bins, center=False)
        self.stem = nn.Conv1d(mel_bins, fine_channels, 7, padding=3)
        self.stem_norm = nn.LayerNorm(fine_channels, eps=1e-6)
        self.fine = nn.Sequential(*(ConvNeXtBlock(fine_channels, fine_blocks) for _ in range(fine_blocks)))
        self.down = nn.Conv1d(fine_channels, channels, 2 * LATENT_RATE, stride=LATENT_RATE, padding=LATENT_RATE // 2)
        self.coarse = nn.Sequential(*(ConvNeXtBlock(channels, blocks) for _ in range(blocks)))
        self.out = nn.Linear(channels, latent_dim)
        self.out_norm = nn.LayerNorm(latent_dim, elementwise_affine=False)

    def mel(self, wav: Tensor) -> Tensor:
        """wav [B, 1, T] -> log-mel [B, bins, T / 240], about zero mean and unit variance at -23 dB."""
        # Frame t is centred on sample 240 t + 120.
        padded = F.pad(wav[:, 0].float(), ((MEL_FFT - SUBHOP) // 2, (MEL_FFT - SUBHOP) // 2))
        return (self.log_mel(padded) + 2.0) / 3.0

    def forward(self, wav: Tensor, vtlp: Tensor | None = None) -> Tensor:
        """`vtlp`: warping factors, float32 [B], of `warp_mel`; used in training only."""
        mel = self.mel(wav) if vtlp is None else warp_mel(self.mel(wav), vtlp)
        x = self.fine(_norm(self.stem_norm, self.stem(mel.to(self.stem.weight.dtype))))
        x = self.coarse(self.down(x))
        return self.out_norm(self.out(x.transpose(1, 2))).transpose(1, 2)


def warp_mel(mel: Tensor, vtlp: Tensor) -> Tensor:
    """Vocal tract length perturbation: log-mel [B, bins, T], band k of the output is band vtlp * k of the input."""
    rows, bins, count = mel.shape
    bands = torch.arange(bins, device=mel.device) * vtlp[:, None]
    up = 2 * bands.clamp(max=bins - 1) / (bins - 1) - 1
    along = torch.linspace(-1, 1, count, device=mel.device)
    grid = torch.stack([along.expand(rows, bins, count), up[..., None].expand(rows, bins, count)], dim=-1)
    return F.grid_sample(mel[:, None], grid, align_corners=True)[:, 0]


class SmallDecoder(nn.Module):
    """latent [B, D, F] -> wav [B, 1, 480 F]. Adds no noise, so it ignores generators."""

    window: Tensor

    def __init__(self, latent_dim: int, channels: int, blocks: int) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(FFT), persistent=False)
        self.stem = nn.Conv1d(latent_dim, channels, 7, padding=3)
        self.up = nn.ConvTranspose1d(channels, channels, 2 * LATENT_RATE, stride=LATENT_RATE, padding=LATENT_RATE // 2)
        self.stem_norm = nn.LayerNorm(channels, eps=1e-6)
        self.blocks = nn.Sequential(*(ConvNeXtBlock(channels, blocks) for _ in range(blocks)))
        self.out_norm = nn.LayerNorm(channels, eps=1e-6)
        self.head = nn.Linear(channels, FFT + 2)

    def forward(self, latent: Tensor, generators: list[torch.Generator] | None = None) -> Tensor:
        x = self.blocks(_norm(self.stem_norm, self.up(self.stem(latent))))
        magnitude, phase = self.head(_norm(self.out_norm, x).transpose(1, 2)).float().transpose(1, 2).chunk(2, dim=1)
        spectrum = torch.polar(torch.exp(magnitude.clamp(max=6.0)), phase)
        return self.overlap_add(torch.fft.irfft(spectrum, FFT, dim=1))[:, None]

    def overlap_add(self, frames: Tensor) -> Tensor:
        """Windowed frames [B, 960, T] -> [B, 240 T]: frame t is centred on sample 240 t + 120."""
        count = frames.shape[-1]
        length = (count - 1) * SUBHOP + FFT
        windowed = frames * self.window[None, :, None]
        envelope = self.window.square()[None, :, None].expand(1, -1, count)
        fold = {"output_size": (1, length), "kernel_size": (1, FFT), "stride": (1, SUBHOP)}
        wav = F.fold(windowed, **fold)[:, 0, 0] / F.fold(envelope, **fold)[:, 0, 0].clamp(min=1e-8)
        edge = (FFT - SUBHOP) // 2
        return wav[:, edge : length - edge]


class SmallEncoderArguments(Schema):
    """Arguments of `SmallEncoder`."""

    mel_bins: Count
    fine_channels: Count
    fine_blocks: Count
    channels: Count
    blocks: Count


class SmallDecoderArguments(Schema):
    """Arguments of `SmallDecoder`."""

    channels: Count
    blocks: Count


class SmallArchitecture(Architecture[SmallEncoderArguments, SmallDecoderArguments]):
    """The architecture of `uniaudio-small`. Level 0 may have an encoder of its own."""

    name = "small"
    encoder_model = SmallEncoderArguments
    decoder_model = SmallDecoderArguments
    allows_coarse_encoder = True

    @classmethod
    def hop_of(cls, encoder: Mapping[str, Any]) -> int:
        return HOP

    @property
    def hop_length(self) -> int:
        return HOP

    def input_dtype(self, weights: torch.dtype) -> torch.dtype:
        return torch.float32  # the STFT is computed in float32 whatever the weights are

    def build_encoder(self, arguments: SmallEncoderArguments | None = None) -> nn.Module:
        given = arguments or self.encoder
        return SmallEncoder(self.config.latent_dim, self.config.sample_rate, **dict(given))

    def build_decoder(self) -> nn.Module:
        return SmallDecoder(self.config.latent_dim, **dict(self.decoder))

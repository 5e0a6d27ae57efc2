"""The published architecture (LLM-Codec of UniAudio 1.5, which follows SNAC): wav to latent and back.

Weight-normalised convolutions with Snake activations, one windowed self-attention block at the latent rate in encoder
and decoder, noise in the decoder. The attributes `block` and `model` and the layers' order match the published state
dict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from uniaudio_cli.codec.architectures.base import Architecture, Count, Counts
from uniaudio_cli.core.schema import Schema

HEAD_DIM = 64
DILATIONS = (1, 3, 9)


def conv(*arguments: int, **options: int | bool) -> nn.Module:
    """A weight-normalised `nn.Conv1d`."""
    return weight_norm(nn.Conv1d(*arguments, **options))  # type: ignore[arg-type]


def remove_weight_norm(module: nn.Module) -> None:
    """Replace every weight-normalised weight in `module` by a plain parameter, for inference."""
    for layer in list(module.modules()):
        if is_parametrized(layer, "weight"):
            remove_parametrizations(layer, "weight")


class Snake(nn.Module):
    """x + sin^2(alpha x) / alpha, with one alpha per channel; [B, C, T] -> [B, C, T]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        wave = torch.sin(self.alpha * x)
        return torch.addcmul(x, wave, wave * (self.alpha + 1e-9).reciprocal())


class ResidualUnit(nn.Module):
    """A dilated convolution over 7 samples and a pointwise one; [B, C, T] -> [B, C, T]."""

    def __init__(self, channels: int, dilation: int, depthwise: bool) -> None:
        super().__init__()
        groups = channels if depthwise else 1
        self.block = nn.Sequential(
            Snake(channels),
            conv(channels, channels, 7, padding=3 * dilation, dilation=dilation, groups=groups),
            Snake(channels),
            conv(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x)


class Rotary(nn.Module):
    """Rotary positions, counted from the start of the window; [..., N, 64] -> [..., N, 64]."""

    inv_freq: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("inv_freq", 10000 ** -(torch.arange(0, HEAD_DIM, 2).float() / HEAD_DIM))

    def forward(self, x: Tensor) -> Tensor:
        angles = torch.arange(x.shape[-2], device=x.device).float()[:, None] * self.inv_freq.float()
        cos, sin = (torch.cat((table, table), dim=-1).to(x.dtype) for table in (angles.cos(), angles.sin()))
        first, second = x.chunk(2, dim=-1)
        return x * cos + torch.cat((-second, first), dim=-1) * sin


class LocalAttention(nn.Module):
    """Self-attention within windows that do not overlap; [B, C, F] -> [B, C, F].

    Raises:
        ValueError: F is not a multiple of the window, or C is not one of 64.
    """

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        if channels % HEAD_DIM:
            raise ValueError(f"attention over {channels} channels: they must be a multiple of {HEAD_DIM}")
        self.window = window
        self.norm = nn.LayerNorm(channels)
        self.to_qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.rel_pos = Rotary()
        self.to_out = nn.Linear(channels, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, frames = x.shape
        if frames % self.window:
            raise ValueError(f"{frames} frames are not a multiple of the attention window, {self.window}")
        # [B, F, 3C] -> q, k, v, each [B, windows, heads, N, 64]
        split = self.to_qkv(self.norm(x.transpose(1, 2))).unflatten(2, (3, -1, HEAD_DIM))
        query, key, value = split.unflatten(1, (-1, self.window)).permute(3, 0, 1, 4, 2, 5)
        attended = F.scaled_dot_product_attention(self.rel_pos(query), self.rel_pos(key), value)
        merged = attended.transpose(2, 3).reshape(batch, frames, channels)
        return x + self.to_out(merged).transpose(1, 2)


class NoiseBlock(nn.Module):
    """x + noise * linear(x), with one Gaussian value per sample; [B, C, T] -> [B, C, T].

    Each clip's noise comes from its own CPU generator, so it depends neither on the batch nor on the device.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = conv(channels, channels, 1, bias=False)

    def forward(self, x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        noise = torch.stack([torch.randn(1, x.shape[-1], generator=generator) for generator in generators])
        return x + noise.to(x.device, x.dtype) * self.linear(x)


class EncoderBlock(nn.Module):
    """[B, C, T] -> [B, 2C, T / stride]."""

    def __init__(self, channels: int, stride: int, depthwise: bool) -> None:
        super().__init__()
        self.block = nn.Sequential(
            *(ResidualUnit(channels, dilation, depthwise) for dilation in DILATIONS),
            Snake(channels),
            conv(channels, 2 * channels, 2 * stride, stride=stride, padding=math.ceil(stride / 2)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)


class DecoderBlock(nn.Module):
    """[B, C, T] -> [B, C / 2, stride T]."""

    def __init__(self, channels: int, stride: int, noise: bool, depthwise: bool) -> None:
        super().__init__()
        narrow = channels // 2
        up = nn.ConvTranspose1d(
            channels, narrow, 2 * stride, stride, padding=math.ceil(stride / 2), output_padding=stride % 2
        )
        layers = [Snake(channels), weight_norm(up)]
        if noise:
            layers.append(NoiseBlock(narrow))
        self.block = nn.Sequential(*layers, *(ResidualUnit(narrow, dilation, depthwise) for dilation in DILATIONS))

    def forward(self, x: Tensor, generators: Sequence[torch.Generator] | None) -> Tensor:
        for layer in self.block:
            if not isinstance(layer, NoiseBlock):
                x = layer(x)
            elif generators is not None:
                x = layer(x, generators)
        return x


class PublishedEncoder(nn.Module):
    """wav [B, 1, T] -> latent [B, D, F], F = T / product(encoder_rates); F must be a multiple of `attn_window_size`.

    The width starts at `encoder_dim` and doubles at every rate; without `attn_window_size` there is no attention.
    """

    def __init__(
        self,
        latent_dim: int,
        encoder_dim: int,
        encoder_rates: Sequence[int],
        depthwise: bool = True,
        attn_window_size: int | None = None,
    ) -> None:
        super().__init__()
        layers = [conv(1, encoder_dim, 7, padding=3)]
        channels = encoder_dim
        for stride in encoder_rates:
            layers.append(EncoderBlock(channels, stride, depthwise))
            channels *= 2
        if attn_window_size is not None:
            layers.append(LocalAttention(channels, attn_window_size))
        layers.append(conv(channels, latent_dim, 7, padding=3, groups=channels if depthwise else 1))
        self.block = nn.Sequential(*layers)

    def forward(self, wav: Tensor) -> Tensor:
        return self.block(wav)


class PublishedDecoder(nn.Module):
    """latent [B, D, F] -> wav [B, 1, F * product(decoder_rates)] in (-1, 1); F as for `PublishedEncoder`.

    The width starts at `decoder_dim` and halves at every rate.
    """

    def __init__(
        self,
        latent_dim: int,
        decoder_dim: int,
        decoder_rates: Sequence[int],
        noise: bool = True,
        depthwise: bool = True,
        attn_window_size: int | None = None,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if depthwise:
            layers += [conv(latent_dim, latent_dim, 7, padding=3, groups=latent_dim), conv(latent_dim, decoder_dim, 1)]
        else:
            layers.append(conv(latent_dim, decoder_dim, 7, padding=3))
        if attn_window_size is not None:
            layers.append(LocalAttention(decoder_dim, attn_window_size))
        channels = decoder_dim
        for stride in decoder_rates:
            layers.append(DecoderBlock(channels, stride, noise, depthwise))
            channels //= 2
        self.model = nn.Sequential(*layers, Snake(channels), conv(channels, 1, 7, padding=3))

    def forward(self, latent: Tensor, generators: Sequence[torch.Generator] | None = None) -> Tensor:
        """`generators`: one CPU generator per clip, from which the blocks draw noise in order; None for no noise."""
        x = latent
        for layer in self.model:
            x = layer(x, generators) if isinstance(layer, DecoderBlock) else layer(x)
        return torch.tanh(x)


class PublishedEncoderArguments(Schema):
    """Arguments of `PublishedEncoder`."""

    encoder_dim: Count
    encoder_rates: Counts
    depthwise: bool = True
    attn_window_size: Count | None = None


class PublishedDecoderArguments(Schema):
    """Arguments of `PublishedDecoder`."""

    decoder_dim: Count
    decoder_rates: Counts
    noise: bool = True
    depthwise: bool = True
    attn_window_size: Count | None = None


class PublishedArchitecture(Architecture[PublishedEncoderArguments, PublishedDecoderArguments]):
    """LLM-Codec as published."""

    name = "published"
    encoder_model = PublishedEncoderArguments
    decoder_model = PublishedDecoderArguments

    @classmethod
    def hop_of(cls, encoder: Mapping[str, Any]) -> int:
        return math.prod(cls.encoder_arguments(encoder).encoder_rates)

    @property
    def hop_length(self) -> int:
        up, down = math.prod(self.decoder.decoder_rates), math.prod(self.encoder.encoder_rates)
        if up != down:
            raise ValueError(f"the encoder's hop is {down} samples and the decoder's {up}")
        return down

    @property
    def window_frames(self) -> int:
        return math.lcm(self.encoder.attn_window_size or 1, self.decoder.attn_window_size or 1)

    def input_dtype(self, weights: torch.dtype) -> torch.dtype:
        return weights

    def build_encoder(self, arguments: PublishedEncoderArguments | None = None) -> nn.Module:
        given = arguments or self.encoder
        return PublishedEncoder(
            self.config.latent_dim, given.encoder_dim, given.encoder_rates, given.depthwise, given.attn_window_size
        )

    def build_decoder(self) -> nn.Module:
        given = self.decoder
        return PublishedDecoder(
            self.config.latent_dim,
            given.decoder_dim,
            given.decoder_rates,
            given.noise,
            given.depthwise,
            given.attn_window_size,
        )

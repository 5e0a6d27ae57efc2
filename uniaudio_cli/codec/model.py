"""`Codec`: wav to codes and back, whichever the architecture. Never knows files, words' meaning or LLMs."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uniaudio_cli.codec.architectures.published import PublishedDecoder, PublishedEncoder
from uniaudio_cli.codec.architectures.small import SmallDecoder, SmallEncoder
from uniaudio_cli.codec.config import CodecConfig
from uniaudio_cli.codec.quantizer import LevelOutput, MultiScaleQuantizer


class Codec(nn.Module):
    """A codec in the LLM's words.

    `encode(wav [B, 1, T])` -> codes, int64 [B, T_k] with T_k = frames / strides[k]; `decode(codes)` -> wav.
    With the published sizes, 16,000 samples are padded to 19,200 and give levels of 10, 20 and 40 codes.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        if config.architecture == "published":
            self.encoder: nn.Module = PublishedEncoder(latent_dim=config.latent_dim, **config.encoder)
            self.decoder: nn.Module = PublishedDecoder(latent_dim=config.latent_dim, **config.decoder)
        else:
            self.encoder = SmallEncoder(config.latent_dim, config.sample_rate, **config.encoder)
            self.decoder = SmallDecoder(config.latent_dim, **config.decoder)
        self.coarse_encoder: nn.Module | None = None
        if config.coarse_encoder:
            self.coarse_encoder = SmallEncoder(config.latent_dim, config.sample_rate, **config.coarse_encoder)
        self.quantizer = MultiScaleQuantizer(config.sizes, config.embedding_dim, config.latent_dim, config.strides)

    @property
    def sample_rate(self) -> int:
        return self.config.sample_rate

    @property
    def hop_length(self) -> int:
        """Samples per latent frame."""
        return self.config.hop_length

    @property
    def strides(self) -> tuple[int, ...]:
        return self.config.strides

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.encoder.parameters()).dtype

    @property
    def frame_multiple(self) -> int:
        """Latent frames come in multiples of this."""
        return self.config.padding_multiple // self.hop_length

    def frames(self, samples: int) -> int:
        """Latent frames of a clip of `samples`, padding counted."""
        return -(-samples // self.config.padding_multiple) * self.config.padding_multiple // self.hop_length

    def padded(self, wav: Tensor) -> Tensor:
        """wav [B, 1, T], zero-padded on the right to a multiple of `config.padding_multiple`."""
        return F.pad(wav, (0, -wav.shape[-1] % self.config.padding_multiple))

    def encoders(self) -> list[nn.Module]:
        """One, and level 0's own where it has one."""
        return [self.encoder] if self.coarse_encoder is None else [self.encoder, self.coarse_encoder]

    def networks(self) -> list[nn.Module]:
        """The encoders and the decoder: all but the tables."""
        return [*self.encoders(), self.decoder]

    def latents(self, wav: Tensor) -> tuple[Tensor, Tensor]:
        """wav [B, 1, T], padded -> the latent and what level 0 listens to, the same where it has no encoder of its own;
        float32 [B, D, F] each."""
        latent = self.encoder(wav).float()
        return latent, latent if self.coarse_encoder is None else self.coarse_encoder(wav).float()

    def encode(self, wav: Tensor) -> list[Tensor]:
        """wav float32 [B, 1, T], -1 to 1 -> int64 [B, T_k] per level, on the codec's device.

        Raises:
            ValueError: `wav` is not [B, 1, T] or has no sample.
        """
        return [level.codes for level in self.encode_soft(wav)]

    @torch.inference_mode()
    def encode_soft(self, wav: Tensor) -> list[LevelOutput]:
        """`encode` with all that was heard: the codes of every level, and how near every other code was.

        Raises:
            ValueError: as `encode`.
        """
        if wav.ndim != 3 or wav.shape[1] != 1 or wav.shape[2] == 0:
            raise ValueError(f"encode takes wav of shape [B, 1, T] with T > 0, not {list(wav.shape)}")
        # The small encoder starts with an FFT, which is kept in float32 whatever the weights are.
        dtype = self.dtype if self.config.architecture == "published" else torch.float32
        return self.quantizer.encode_soft(*self.latents(self.padded(wav.to(self.device, dtype))))

    @torch.inference_mode()
    def decode(self, codes: Sequence[Tensor], seed: int | None = None, noise: bool = True) -> Tensor:
        """int64 [B, T_k] per level -> wav float32 [B, 1, T_0 * strides[0] * hop_length].

        The published decoder adds noise. It is drawn per clip from a CPU generator seeded with `seed`, so a clip
        sounds the same alone, in a batch and on a GPU; `noise=False` adds none. The small one ignores both.

        Raises:
            ValueError: the levels' lengths are not in the ratio of the strides, or a code is out of range.
        """
        self.check(codes)
        latent = self.quantizer.latent([level.to(self.device) for level in codes])
        generators = None
        if noise:
            base = secrets.randbits(63) if seed is None else seed
            generators = [torch.Generator().manual_seed(base) for _ in range(latent.shape[0])]
        return self.decoder(latent.to(self.dtype), generators).float()

    def check(self, codes: Sequence[Tensor]) -> None:
        """Raise ValueError unless `codes` can be decoded."""
        if not 1 <= len(codes) <= len(self.strides) or any(level.ndim != 2 for level in codes):
            raise ValueError(f"decode takes 1 to {len(self.strides)} levels of shape [B, T_k]")
        frames = {level.shape[-1] * stride for level, stride in zip(codes, self.strides, strict=False)}
        if len(frames) != 1 or 0 in frames or max(frames) % self.frame_multiple:
            raise ValueError(
                f"levels of {[level.shape[-1] for level in codes]} codes do not fit the strides {self.strides}, "
                f"{self.frame_multiple} frames at a time"
            )
        for level, size in zip(codes, self.config.sizes, strict=False):
            if int(level.min()) < 0 or int(level.max()) >= size:
                raise ValueError(f"a code is outside 0..{size - 1}")

"""`Codec`: wav to codes and back, of any registered architecture."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uniaudio_cli.codec.config import CodecConfig
from uniaudio_cli.codec.quantizer import LevelOutput, MultiScaleQuantizer

MAX_BATCH_SECONDS = 120.0  # of padded audio in one forward pass of `encode_batch`


class Codec(nn.Module):
    """A codec whose codes are words or ids of an LLM.

    `encode(wav [B, 1, T])` -> codes, int64 [B, T_k] with T_k = frames / strides[k]; `decode(codes)` -> wav.
    With the published sizes, 16,000 samples are padded to 19,200 and give levels of 10, 20 and 40 codes.

    Raises:
        UsageError: arguments of `config` do not fit its architecture.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.architecture = config.networks()
        self.encoder = self.architecture.build_encoder()
        self.decoder = self.architecture.build_decoder()
        self.coarse_encoder: nn.Module | None = None
        if config.coarse_encoder:
            arguments = self.architecture.encoder_arguments(config.coarse_encoder)
            self.coarse_encoder = self.architecture.build_encoder(arguments)
        self.quantizer = MultiScaleQuantizer(config.sizes, config.embedding_dim, config.latent_dim, config.strides)

    @property
    def sample_rate(self) -> int:
        """Of the audio, in Hz."""
        return self.config.sample_rate

    @property
    def hop_length(self) -> int:
        """Samples per latent frame."""
        return self.config.hop_length

    @property
    def strides(self) -> tuple[int, ...]:
        """Latent frames per code, coarsest level first."""
        return self.config.strides

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the encoder's weights."""
        return next(self.encoder.parameters()).dtype

    @property
    def frame_multiple(self) -> int:
        """Latent frames come in multiples of this."""
        return self.config.padding_multiple // self.hop_length

    def frames(self, samples: int) -> int:
        """Latent frames of a clip of `samples`, with padding."""
        return -(-samples // self.config.padding_multiple) * self.config.padding_multiple // self.hop_length

    def padded(self, wav: Tensor) -> Tensor:
        """wav [.., T], zero-padded on the right to a multiple of `config.padding_multiple`."""
        return F.pad(wav, (0, -wav.shape[-1] % self.config.padding_multiple))

    def encoders(self) -> list[nn.Module]:
        """The encoder, and level 0's own where it has one."""
        return [self.encoder] if self.coarse_encoder is None else [self.encoder, self.coarse_encoder]

    def networks(self) -> list[nn.Module]:
        """The encoders and the decoder: all but the quantiser."""
        return [*self.encoders(), self.decoder]

    def latents(self, wav: Tensor) -> tuple[Tensor, Tensor]:
        """Padded wav [B, 1, T] -> the latent and level 0's latent, float32 [B, D, F] each.

        The two are equal where level 0 has no encoder of its own.
        """
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
        """wav float32 [B, 1, T], -1 to 1 -> per level the codes and the similarity to every other code.

        Raises:
            ValueError: as `encode`.
        """
        if wav.ndim != 3 or wav.shape[1] != 1 or wav.shape[2] == 0:
            raise ValueError(f"encode takes wav of shape [B, 1, T] with T > 0, not {list(wav.shape)}")
        dtype = self.architecture.input_dtype(self.dtype)
        return self.quantizer.encode_soft(*self.latents(self.padded(wav.to(self.device, dtype))))

    @torch.inference_mode()
    def encode_coarsest(self, wav: Tensor) -> LevelOutput:
        """The first of `encode_soft`'s levels, by its own encoder alone where it has one.

        Raises:
            ValueError: as `encode`.
        """
        if self.coarse_encoder is None:
            return self.encode_soft(wav)[0]
        if wav.ndim != 3 or wav.shape[1] != 1 or wav.shape[2] == 0:
            raise ValueError(f"encode takes wav of shape [B, 1, T] with T > 0, not {list(wav.shape)}")
        dtype = self.architecture.input_dtype(self.dtype)
        latent = self.coarse_encoder(self.padded(wav.to(self.device, dtype))).float()
        return self.quantizer.levels()[0](latent)

    def encode_batch(self, wavs: Sequence[Tensor]) -> list[list[LevelOutput]]:
        """`encode_soft` of clips of different lengths, float32 [1, T] each -> per clip, per level, batches of one.

        Clips of equal padded length share a forward pass, so padding is the same as alone and so are the codes.

        Raises:
            ValueError: as `encode`.
        """
        buckets: dict[int, list[int]] = {}
        for number, wav in enumerate(wavs):
            if wav.ndim != 2 or wav.shape[0] != 1 or wav.shape[1] == 0:
                raise ValueError(f"encode_batch takes wavs of shape [1, T] with T > 0, not {list(wav.shape)}")
            buckets.setdefault(self.frames(wav.shape[-1]) * self.hop_length, []).append(number)
        encoded: list[list[LevelOutput]] = [[] for _ in wavs]
        for length, numbers in buckets.items():
            size = max(1, int(MAX_BATCH_SECONDS * self.sample_rate / length))
            for start in range(0, len(numbers), size):
                batch = numbers[start : start + size]
                levels = self.encode_soft(torch.stack([self.padded(wavs[number]) for number in batch]))
                for row, number in enumerate(batch):
                    encoded[number] = [level.select(row) for level in levels]
        return encoded

    @torch.inference_mode()
    def decode(self, codes: Sequence[Tensor], seed: int | None = None, noise: bool = True) -> Tensor:
        """int64 [B, T_k] per level -> wav float32 [B, 1, T_0 * strides[0] * hop_length].

        The published decoder adds noise. It is drawn per clip from a CPU generator seeded with `seed`, so a clip's
        samples are the same alone, in a batch and on a GPU; `noise=False` adds none. Other decoders ignore both.

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

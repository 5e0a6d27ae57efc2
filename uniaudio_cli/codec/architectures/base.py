"""`Architecture`: what a family of codec networks defines. `codec.model` builds any codec through it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Protocol, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from uniaudio_cli.core.schema import FROM_LIST, Schema, build

if TYPE_CHECKING:
    from uniaudio_cli.codec.config import CodecConfig

Encoder = TypeVar("Encoder", bound=Schema)
Decoder = TypeVar("Decoder", bound=Schema)

Count = Annotated[int, Field(ge=1)]
Counts = Annotated[tuple[Count, ...], Field(min_length=1), FROM_LIST]


class DecoderModule(Protocol):
    """A decoder's call: latent [B, D, F] -> wav [B, 1, hop_length * F].

    `generators`: one CPU generator a clip for a decoder that adds noise; None for no noise.
    """

    def __call__(self, latent: Tensor, generators: Sequence[torch.Generator] | None = None) -> Tensor: ...


class Architecture(ABC, Generic[Encoder, Decoder]):
    """The networks of one `CodecConfig`: their sizes, checked, and how they are built.

    A subclass is registered by its `name`, the value of `architecture` in a codec's description. `encoder_model` and
    `decoder_model` are the schemas of the description's `encoder` and `decoder`.

    Raises:
        UsageError: the arguments do not fit the schemas.
    """

    name: ClassVar[str]
    encoder_model: type[Encoder]
    decoder_model: type[Decoder]
    allows_coarse_encoder: ClassVar[bool] = False

    def __init__(self, config: CodecConfig) -> None:
        self.config = config
        self.encoder = self.encoder_arguments(config.encoder)
        self.decoder = build(self.decoder_model, dict(config.decoder))

    @classmethod
    def encoder_arguments(cls, values: Mapping[str, Any]) -> Encoder:
        """The arguments of an encoder, checked."""
        return build(cls.encoder_model, dict(values))

    @classmethod
    @abstractmethod
    def hop_of(cls, encoder: Mapping[str, Any]) -> int:
        """Samples per latent frame of an encoder with these arguments."""

    @property
    @abstractmethod
    def hop_length(self) -> int:
        """Samples per latent frame.

        Raises:
            ValueError: the encoder's hop is not the decoder's.
        """

    @property
    def strides(self) -> tuple[int, ...]:
        """Latent frames per code, coarsest level first."""
        return self.config.strides

    @property
    def window_frames(self) -> int:
        """The networks take multiples of this many latent frames."""
        return 1

    @abstractmethod
    def input_dtype(self, weights: torch.dtype) -> torch.dtype:
        """The dtype of the wav that an encoder with `weights` takes."""

    @abstractmethod
    def build_encoder(self, arguments: Encoder | None = None) -> nn.Module:
        """wav [B, 1, T] -> latent [B, D, T / hop_length]. `arguments`: by default those of the description."""

    @abstractmethod
    def build_decoder(self) -> nn.Module:
        """A `DecoderModule`."""

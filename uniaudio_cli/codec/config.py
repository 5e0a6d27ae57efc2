"""`CodecConfig`, the description of a codec beside its weights, and its JSON file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import Self

from uniaudio_cli.codec.architectures import REGISTRY, Architecture
from uniaudio_cli.codec.architectures.base import Count, Counts
from uniaudio_cli.core.errors import MissingWeightsError, UniAudioError, UsageError, first_line
from uniaudio_cli.core.paths import show
from uniaudio_cli.core.schema import Expected, Schema, build, refuse, require

FORMAT = 1


def as_tuples(value: Any) -> Any:
    """A JSON or YAML value with tuples in place of lists, in mappings too."""
    if isinstance(value, Mapping):
        return {key: as_tuples(inner) for key, inner in value.items()}
    return tuple(as_tuples(inner) for inner in value) if isinstance(value, list) else value


Arguments = Annotated[Mapping[str, Any], BeforeValidator(as_tuples), Expected("a mapping of names to values")]
Words = Annotated[
    tuple[tuple[str, ...] | None, ...],
    BeforeValidator(as_tuples),
    Expected("a list, as long as 'sizes', of lists of strings or null"),
]


class CodecConfig(Schema):
    """Everything about a codec except its weights."""

    architecture: str = Field(description="A name in `architectures.REGISTRY`.")
    sample_rate: Count = Field(description="Of the audio, Hz.")
    hop_length: Count = Field(description="Samples per latent frame.")
    strides: Counts = Field(description="Latent frames per code, coarsest level first.")
    sizes: Counts = Field(description="Codes per level.")
    embedding_dim: Count = Field(description="Dimensions of the LLM's embeddings.")
    latent_dim: Count = Field(description="Dimensions of the latent.")
    words: Words = Field(description="Each level's words in code order; null where a code is an LLM id.")
    llm: str = Field(description="The LLM whose embeddings the codebooks are.")
    level_db: float | None = Field(None, description="Active level to bring clips to before encoding, dB full scale.")
    encoder: Arguments = Field({}, description="Arguments of the architecture's encoder.")
    decoder: Arguments = Field({}, description="Arguments of the architecture's decoder.")
    coarse_encoder: Arguments = Field({}, description="Arguments of level 0's own encoder; empty where it has none.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names = ", ".join(REGISTRY)
        require(self.architecture in REGISTRY, "architecture", f"one of {names}", self.architecture)
        levels = len(self.sizes)
        require(len(self.strides) == levels, "strides", "as long as 'sizes'", self.strides)
        require(len(self.words) == levels, "words", "a list as long as 'sizes'", self.words)
        for level, (size, words) in enumerate(zip(self.sizes, self.words, strict=True)):
            if words is not None and len(words) != size:
                refuse(f"{size} strings or null on level {level}", words, "words")
        if self.coarse_encoder and not REGISTRY[self.architecture].allows_coarse_encoder:
            refuse(f"left out with the {self.architecture} architecture", dict(self.coarse_encoder), "coarse_encoder")
        return self

    def networks(self) -> Architecture[Any, Any]:
        """The architecture with this configuration's sizes.

        Raises:
            UsageError: `encoder`, `decoder` or `coarse_encoder` does not fit the architecture.
        """
        return REGISTRY[self.architecture](self)

    @cached_property
    def padding_multiple(self) -> int:
        """Clips are padded to a multiple of this many samples, so that all levels and attention windows are whole."""
        return self.hop_length * math.lcm(*self.strides, self.networks().window_frames)


def write_description(file: Path, config: CodecConfig) -> None:
    """Write `config` as JSON."""
    data = {"format": FORMAT, **config.model_dump(mode="json")}
    if not config.coarse_encoder:
        del data["coarse_encoder"]
    file.write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_description(file: Path) -> CodecConfig:
    """The `CodecConfig` of a NAME.json.

    Raises:
        MissingWeightsError: there is no such file.
        UniAudioError: it is not JSON, or a key is unknown, missing or of a wrong value.
    """
    if not file.is_file():
        raise MissingWeightsError(
            f"{show(file)}: no such file, but a codec's NAME.json belongs beside NAME.safetensors"
        )
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UniAudioError(
            f"{show(file)}: not JSON ({first_line(error)}); fetch or convert the codec again"
        ) from error
    if not isinstance(data, dict) or "format" not in data:
        raise UniAudioError(f"{show(file)}: describes no codec (no 'format'); fetch or convert the codec again")
    found = data.pop("format")
    if found != FORMAT:
        raise UniAudioError(
            f"{show(file)}: is of format {found!r}, and this version reads format {FORMAT}; convert the codec again"
        )
    try:
        return build(CodecConfig, data)
    except UsageError as error:
        raise UniAudioError(f"{show(file)}: {error}; fetch or convert the codec again") from error

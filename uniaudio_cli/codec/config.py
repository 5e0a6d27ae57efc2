"""What a codec's files hold beside the weights: `CodecConfig` and our JSON of it, every value checked when read.

Never knows networks or weights.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from uniaudio_cli.core.errors import MissingWeightsError, UniAudioError
from uniaudio_cli.core.paths import show, suggest

FORMAT = 1
ARCHITECTURES = ("published", "small")
NETWORKS = ("encoder", "decoder", "coarse_encoder")


@dataclass(frozen=True)
class Stored:
    """A checkpoint as read, whichever its form. `weights`, `description`: the files that errors name."""

    config: CodecConfig
    state: Mapping[str, Tensor]
    weights: Path
    description: Path


def describe(config: CodecConfig) -> str:
    """`config` as the text of our JSON."""
    data = {field.name: getattr(config, field.name) for field in fields(CodecConfig)}
    data |= {part: dict(getattr(config, part)) for part in NETWORKS}
    if not config.coarse_encoder:
        del data["coarse_encoder"]
    return json.dumps({"format": FORMAT, **data}, ensure_ascii=False, indent=1) + "\n"


def read_description(file: Path) -> CodecConfig:
    """The `CodecConfig` of our JSON; unknown keys are refused."""
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

    def need(fits: bool, what: str) -> None:
        if not fits:
            raise UniAudioError(f"{show(file)}: {what}; fetch or convert the codec again")

    need(isinstance(data, dict) and "format" in data, "describes no codec (no 'format')")
    need(data["format"] == FORMAT, f"is of format {data['format']!r}, and this version reads format {FORMAT}")
    given = {key: value for key, value in data.items() if key != "format"}
    known = {field.name: field.default is MISSING and field.default_factory is MISSING for field in fields(CodecConfig)}
    for key in given:
        need(key in known, f"unknown key {key!r}{suggest(key, known)}")
    for key, required in known.items():
        need(key in given or not required, f"no {key!r}")
    need(given["architecture"] in ARCHITECTURES, f"'architecture' must be one of {', '.join(ARCHITECTURES)}")
    for key in ("sample_rate", "hop_length", "embedding_dim", "latent_dim"):
        need(is_count(given[key]), f"{key!r} must be a whole number above 0")
    for key in ("strides", "sizes"):
        need(are_counts(given[key]), f"{key!r} must be a list of whole numbers above 0")
    sizes, words = given["sizes"], given["words"]
    need(isinstance(words, list) and len(words) == len(sizes), "'words' must be a list as long as 'sizes'")
    need(len(given["strides"]) == len(sizes), "'strides' must be as long as 'sizes'")
    for level, (size, its) in enumerate(zip(sizes, words, strict=True)):
        strings = isinstance(its, list) and len(its) == size and all(isinstance(word, str) for word in its)
        need(its is None or strings, f"'words' of level {level} must be {size} strings or null")
    need(isinstance(given["llm"], str), "'llm' must be a string")
    level_db = given.get("level_db")
    number = isinstance(level_db, int | float) and not isinstance(level_db, bool) and math.isfinite(level_db)
    need(level_db is None or number, "'level_db' must be a number or null")
    for key in NETWORKS:
        need(isinstance(given.get(key, {}), dict), f"{key!r} must be a mapping")
        given[key] = frozen(given.get(key, {}))
    small = given["architecture"] == "small"
    need(small or not given["coarse_encoder"], "'coarse_encoder' is for the small architecture")
    given["words"] = tuple(None if its is None else tuple(its) for its in words)
    return CodecConfig(**{key: frozen(value) for key, value in given.items()})


def frozen(value: Any) -> Any:
    """A value of JSON or YAML as `CodecConfig` has it: lists are tuples, in mappings too."""
    if isinstance(value, Mapping):
        return {key: frozen(inner) for key, inner in value.items()}
    return tuple(value) if isinstance(value, list) else value


def is_count(value: Any) -> bool:
    """Whether `value` is a whole number above 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def are_counts(value: Any) -> bool:
    """Whether `value` is a list of at least one whole number, all above 0."""
    return isinstance(value, list) and bool(value) and all(map(is_count, value))


def first_line(error: BaseException) -> str:
    """An exception's message, cut to one line."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


@dataclass(frozen=True)
class CodecConfig:
    """Everything but the weights.

    `architecture`: "published" (LLM-Codec) or "small". `strides`: latent frames per code, coarsest level first.
    `sizes`: codes per level. `words[k]`: level k's words in code order, or None where a code is an LLM id as it
    stands. `llm`: the LLM whose embeddings the codebooks are. `level_db`: the active level clips should be brought to
    `encode` (None: as they are). `encoder`, `decoder`: arguments of the architecture's classes. `coarse_encoder`: those
    of an encoder that level 0 alone listens to, of the small architecture; empty where it listens to what all do.
    """

    architecture: str
    sample_rate: int
    hop_length: int
    strides: tuple[int, ...]
    sizes: tuple[int, ...]
    embedding_dim: int
    latent_dim: int
    words: tuple[tuple[str, ...] | None, ...]
    llm: str
    level_db: float | None = None
    encoder: Mapping[str, Any] = field(default_factory=dict)
    decoder: Mapping[str, Any] = field(default_factory=dict)
    coarse_encoder: Mapping[str, Any] = field(default_factory=dict)

    @property
    def padding_multiple(self) -> int:
        """Every clip is padded to a multiple of so many samples: all levels and attention windows come out whole."""
        return self.hop_length * math.lcm(*self.strides, self.encoder.get("attn_window_size") or 1)

"""The published files (a torch pickle, a YAML and a numpy file of words) to a `CodecConfig` and its state dict.

The pickle is read as data only (`weights_only`), the words without pickle. The YAML's paths to embeddings are not
opened: the codebooks are in the state dict, and their sizes are read from it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from uniaudio_cli.codec.architectures.published import PublishedArchitecture
from uniaudio_cli.codec.checkpoint.stored import CODEBOOK, StoredCodec
from uniaudio_cli.codec.config import CodecConfig
from uniaudio_cli.core.errors import MissingWeightsError, UniAudioError, UsageError
from uniaudio_cli.core.paths import show

LLM = "meta-llama/Llama-2-7b-hf"
SAMPLE_RATE = 16_000


def read_published(checkpoint: Path, config: str | Path | None = None, words: str | Path | None = None) -> StoredCodec:
    """The three published files; `config` and `words` are by default found beside `checkpoint`.

    Level 0 has words of its own (3,248 in the paper) or, in an earlier checkpoint, the LLM's full vocabulary. It then
    has as many codes as level 1, and needs no words.

    Raises:
        MissingWeightsError: a file is missing.
        UsageError: one of several files must be named.
        UniAudioError: a file is broken, or does not fit the others.
    """
    state = _unpickle(checkpoint)
    description = _given_or_beside(checkpoint, config, "configuration", "*.yaml", "*.yml")
    arguments = _arguments(description)
    sizes, embedding_dim = _codebooks(checkpoint, state, len(arguments["vq_strides"]), description)
    full = len(sizes) > 1 and sizes[0] == sizes[1]
    level_words = None if full and words is None else _words(checkpoint, words, sizes[0])
    shared = {key: arguments[key] for key in ("depthwise", "attn_window_size")}
    codec_config = CodecConfig(
        architecture=PublishedArchitecture.name,
        sample_rate=arguments["sample_rate"],
        hop_length=math.prod(arguments["encoder_rates"]),
        strides=arguments["vq_strides"],
        sizes=sizes,
        embedding_dim=embedding_dim,
        latent_dim=arguments["latent_dim"],
        words=(level_words, *[None] * (len(sizes) - 1)),
        llm=LLM,
        encoder={key: arguments[key] for key in ("encoder_dim", "encoder_rates")} | shared,
        decoder={key: arguments[key] for key in ("decoder_dim", "decoder_rates", "noise")} | shared,
    )
    return StoredCodec(codec_config, state, checkpoint, description)


def _unpickle(checkpoint: Path) -> dict[str, Tensor]:
    try:
        data = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise nearly anything
        why = error.strerror or "" if isinstance(error, OSError) else type(error).__name__
        raise UniAudioError(
            f"{show(checkpoint)}: not a checkpoint that can be read safely ({why}); fetch it again from its publisher"
        ) from error
    state = data.get("codec_model") if isinstance(data, dict) else None
    if not isinstance(state, dict):
        raise UniAudioError(
            f"{show(checkpoint)}: holds no 'codec_model', as published codecs do; give another checkpoint"
        )
    if not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()):
        raise UniAudioError(f"{show(checkpoint)}: 'codec_model' holds more than named tensors; give another checkpoint")
    return state


def _codebooks(
    checkpoint: Path, state: dict[str, Tensor], levels: int, description: Path
) -> tuple[tuple[int, ...], int]:
    """Every level's number of codes, and the dimensions of one."""
    shapes = []
    for name in map(CODEBOOK.format, range(levels)):
        if name not in state or state[name].ndim != 2:
            raise UniAudioError(
                f"{show(checkpoint)}: no matrix {name}, though {show(description)} has {levels} vq_strides; "
                "check that they belong together"
            )
        shapes.append(state[name].shape)
    return tuple(size for size, _ in shapes), shapes[0][1]


def _given_or_beside(checkpoint: Path, given: str | Path | None, what: str, *patterns: str) -> Path:
    if given is not None:
        if not Path(given).is_file():
            raise MissingWeightsError(f"{show(given)}: no such file; name the {what} of {show(checkpoint)}")
        return Path(given)
    found = sorted(file for pattern in patterns for file in checkpoint.parent.glob(pattern))
    if not found:
        raise MissingWeightsError(
            f"{show(checkpoint)}: no {what} ({' or '.join(patterns)}) is beside it; put it there or name it"
        )
    if len(found) > 1:
        raise UsageError(f"{show(checkpoint)}: beside it are more than one {what} ({_names(found)}); name one")
    return found[0]


def _arguments(file: Path) -> dict[str, Any]:
    """`generator.config` of the YAML, with defaults filled in and every argument in use checked."""
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark is not None else ""
        raise UniAudioError(f"{show(file)}: not YAML that can be read safely{line}; fetch it again") from error
    top = data if isinstance(data, dict) else {}
    generator = top.get("generator")
    given = generator.get("config") if isinstance(generator, dict) else None
    if not isinstance(given, dict):
        raise UniAudioError(f"{show(file)}: no 'generator.config', as published configurations have; name another file")
    found: dict[str, Any] = {
        "sample_rate": top.get("sample_rate", SAMPLE_RATE),
        "noise": True,
        "depthwise": True,
        "use_cblinear": True,
        **given,
    }

    def need(fits: bool, key: str, what: str) -> None:
        if not fits:
            raise UniAudioError(f"{show(file)}: generator.config: {key!r} must be {what}, not {found.get(key)!r}")

    for key in ("encoder_rates", "decoder_rates", "vq_strides"):
        need(_are_counts(found.get(key)), key, "a list of whole numbers above 0")
        found[key] = tuple(found[key])
    for key in ("encoder_dim", "decoder_dim", "sample_rate"):
        need(_is_count(found.get(key)), key, "a whole number above 0")
    found.setdefault("latent_dim", None)
    if found["latent_dim"] is None:
        found["latent_dim"] = found["encoder_dim"] * 2 ** len(found["encoder_rates"])
    need(_is_count(found["latent_dim"]), "latent_dim", "a whole number above 0 or null")
    window = found.setdefault("attn_window_size", None)
    need(window is None or _is_count(window), "attn_window_size", "a whole number above 0 or null")
    for key in ("noise", "depthwise"):
        need(isinstance(found[key], bool), key, "true or false")
    need(found["use_cblinear"] is True, "use_cblinear", "true (codebooks without a linear layer are not supported)")
    return found


def _words(checkpoint: Path, given: str | Path | None, size: int) -> tuple[str, ...]:
    """Level 0's words in code order."""
    if given is not None:
        file = _given_or_beside(checkpoint, given, "words")
        strings = _strings(file)
        if strings is None:
            raise UniAudioError(f"{show(file)}: not a numpy file with a list of strings; name the words of level 0")
        found = {file: strings}
    else:
        read = {file: _strings(file) for file in sorted(checkpoint.parent.glob("*.npy"))}
        found = {file: words for file, words in read.items() if words is not None}
        found = {file: words for file, words in found.items() if len(words) == size} or found
    if not found:
        raise MissingWeightsError(
            f"{show(checkpoint)}: level 0 has {size} words of its own, but no .npy of them is beside it; "
            "put it there or name it"
        )
    if len(found) > 1:
        raise UsageError(f"{show(checkpoint)}: beside it are more than one .npy of words ({_names(found)}); name one")
    ((file, words),) = found.items()
    if len(words) != size:
        raise UniAudioError(
            f"{show(file)}: {len(words)} words, but level 0 of {show(checkpoint)} has {size}; name its own"
        )
    return words


def _strings(file: Path) -> tuple[str, ...] | None:
    """The file's 1-D array of strings; None where it holds anything else."""
    try:
        array = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError):
        return None
    strings = isinstance(array, np.ndarray) and array.ndim == 1 and array.dtype.kind == "U"
    return tuple(array.tolist()) if strings else None


def _names(files: Any) -> str:
    return ", ".join(show(file.name) for file in files)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_count, value))

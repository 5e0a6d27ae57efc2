"""Files to `Codec` and back. Two forms come in: the published pickle (`published_files.py`), and our own pair.

Ours is NAME.safetensors with NAME.json (`description.py`). Its quantiser is either raw (`codebook.weight`, `cb_proj.*`:
what training writes) or ready for inference (`projected`: what `convert` writes, a quarter of the size at the published
widths). Weight norm may be folded or not, in either of its two spellings. Never knows LLMs or what the words mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from uniaudio_cli.codec.architectures.published import remove_weight_norm
from uniaudio_cli.codec.architectures.small import LATENT_RATE, SUBHOP
from uniaudio_cli.codec.checkpoint.published_files import read_published
from uniaudio_cli.codec.config import CodecConfig, Stored, describe, first_line, read_description
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.core.errors import MissingWeightsError, UniAudioError, UsageError
from uniaudio_cli.core.paths import atomic, show

QUANTISER = "quantizer."
PROJECTED = "quantizer.quantizers.{}.projected"
# The old and the new spelling of weight norm: length, direction.
WEIGHT_NORM = (("weight_g", "weight_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1"))


def load_codec(
    checkpoint: str | Path,
    config: str | Path | None = None,
    words: str | Path | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    keep_codebooks: bool = False,
) -> Codec:
    """A codec ready for inference: frozen, weight norm folded, codebooks projected (in float32 whatever `dtype` is).

    Args:
        checkpoint: the published pickle, NAME.safetensors (or NAME.json), or a folder with one such pair.
        config: the published YAML or our JSON; by default the one that is beside `checkpoint`.
        words: the published level-0 words (.npy); by default those beside `checkpoint`. Our own form has its words.
        dtype: of the networks' weights.
        keep_codebooks: keep the raw codebooks too (over 1 GB at the published size), to save them again.

    Raises:
        MissingWeightsError: a file is not there.
        UniAudioError: a file is broken, or the files do not fit each other.
    """
    checkpoint = Path(checkpoint)
    if not checkpoint.exists():
        raise MissingWeightsError(
            f"{show(checkpoint)}: no such file; give a codec's NAME.safetensors or a published one"
        )
    if checkpoint.is_dir() or checkpoint.suffix in (".safetensors", ".json"):
        if words is not None:
            raise UsageError(f"{show(checkpoint)}: holds its own words; leave {show(words)} out")
        stored = _read_own(checkpoint, config)
    else:
        stored = read_published(checkpoint, config, words)
    codec = _filled(stored, keep_codebooks)
    # Parameters alone: tables such as windows and mel filters stay as exact as they were made.
    for network in codec.networks():
        for parameter in network.parameters():
            parameter.data = parameter.data.to(dtype)
    return codec.eval().requires_grad_(False).to(device)


def save_codec(
    codec: Codec,
    path: str | Path,
    inference: bool = False,
    dtype: torch.dtype | None = None,
    codebook_dtype: torch.dtype | None = None,
    force: bool = False,
) -> Path:
    """Write `path` (NAME.safetensors) and NAME.json, each whole or not at all; return `path`.

    Args:
        inference: fold weight norm, and store projected tables (float32) in place of the codebooks.
        dtype: of the networks' weights; by default as they are.
        codebook_dtype: of the raw codebooks; by default as they are.
        force: replace files that are there.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise UsageError(f"{show(path)}: a codec's file must be called NAME.safetensors")
    levels = codec.quantizer.levels()
    if not inference and not all(hasattr(level, "codebook") for level in levels):
        raise UsageError(f"{show(path)}: this codec was loaded without its codebooks; save it for inference")
    state: dict[str, Tensor] = dict(codec.state_dict())
    if inference:
        state = fold_weight_norm({name: value for name, value in state.items() if not name.startswith(QUANTISER)})
        state |= {PROJECTED.format(index): level.projection() for index, level in enumerate(levels)}
    buffers = {name for name, _ in codec.named_buffers()}
    written = {}
    for name, value in state.items():
        if name.endswith("codebook.weight"):
            value = value.to(codebook_dtype or value.dtype)
        elif not name.startswith(QUANTISER) and name not in buffers:
            value = value.to(dtype or value.dtype)
        # A copy each: levels may share one codebook, and the format has no word for that.
        written[name] = value.detach().cpu().contiguous().clone()
    with atomic(path, force=force) as weights, atomic(path.with_suffix(".json"), force=force) as description:
        mode = weights.stat().st_mode
        try:
            save_file(written, weights, metadata={"format": "pt"})
            weights.chmod(mode)  # safetensors makes files that only their owner can read
            description.write_text(describe(codec.config), encoding="utf-8")
        except SafetensorError as error:
            raise UniAudioError(f"{show(path)}: cannot be written ({first_line(error)})") from error
    return path


def convert(
    checkpoint: str | Path,
    out: str | Path,
    config: str | Path | None = None,
    words: str | Path | None = None,
    inference: bool = True,
    dtype: torch.dtype = torch.float32,
    codebook_dtype: torch.dtype | None = None,
    force: bool = False,
) -> Path:
    """Load any checkpoint and save it in our own form; for `inference`, as small and as quick to load as it gets."""
    codec = load_codec(checkpoint, config, words, keep_codebooks=not inference)
    return save_codec(codec, out, inference, dtype, codebook_dtype, force)


def fold_weight_norm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` with every length and direction, in either spelling, made one float32 `weight`."""
    folded = dict(state)
    for length, direction in WEIGHT_NORM:
        for name in [name for name in state if name.endswith("." + length)]:
            stem = name.removesuffix(length)
            g, v = state[name].float(), state.get(stem + direction, torch.empty(0)).float()
            if v.ndim > 1 and g.shape == (v.shape[0], *[1] * (v.ndim - 1)):
                del folded[name], folded[stem + direction]
                folded[stem + "weight"] = v * (g / v.flatten(1).norm(dim=1).view_as(g))
    return folded


def _read_own(checkpoint: Path, description: str | Path | None) -> Stored:
    weights = checkpoint.with_suffix(".safetensors")
    if checkpoint.is_dir():
        pairs = sorted(file for file in checkpoint.glob("*.safetensors") if file.with_suffix(".json").is_file())
        if not pairs:
            raise MissingWeightsError(
                f"{show(checkpoint)}: no codec in this folder (NAME.safetensors with NAME.json); name its file"
            )
        if len(pairs) > 1:
            names = ", ".join(show(file.name) for file in pairs)
            raise UsageError(f"{show(checkpoint)}: more than one codec in this folder ({names}); name one")
        weights = pairs[0]
    if not weights.is_file():
        raise MissingWeightsError(f"{show(weights)}: no such file, but it belongs beside {show(checkpoint)}")
    description = weights.with_suffix(".json") if description is None else Path(description)
    config = read_description(description)
    try:
        state = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise UniAudioError(
            f"{show(weights)}: broken ({first_line(error)}); fetch or convert the codec again"
        ) from error
    return Stored(config, state, weights, description)


def _filled(stored: Stored, keep_codebooks: bool) -> Codec:
    """The codec of `stored`, its tables projected."""
    codec = _blank(stored)
    state = fold_weight_norm(stored.state)
    for index, level in enumerate(codec.quantizer.levels()):
        name = PROJECTED.format(index)
        if name in state:
            _check_shape(stored, name, state[name], (stored.config.sizes[index], stored.config.latent_dim))
            level.use(state.pop(name).float())
            level.forget()
    wanted = codec.state_dict()
    wrong = {"missing": sorted(wanted.keys() - state.keys()), "unexpected": sorted(state.keys() - wanted.keys())}
    if any(wrong.values()):
        counts = [
            f"{len(names)} {kind} ({', '.join(names[:2])}{', ...' if len(names) > 2 else ''})"
            for kind, names in wrong.items()
            if names
        ]
        raise UniAudioError(
            f"{show(stored.weights)}: not the weights of {show(stored.description)}: {', '.join(counts)}; "
            "check that they belong together"
        )
    for name, value in state.items():
        _check_shape(stored, name, value, tuple(wanted[name].shape))
    codec.load_state_dict(state, assign=True)
    for level in codec.quantizer.levels():
        if level.projected is None:
            level.project()
            if not keep_codebooks:
                level.forget()
    return codec


def _check_shape(stored: Stored, name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(value.shape) != shape or not value.is_floating_point():
        raise UniAudioError(
            f"{show(stored.weights)}: {name} is {value.dtype} {list(value.shape)}, but {show(stored.description)} "
            f"asks for floats {list(shape)}; check that they belong together"
        )


def _blank(stored: Stored) -> Codec:
    """A codec without weight norm, and with codebooks that take no memory: the files' tensors replace them."""
    config = stored.config
    try:
        hops = _hops(config)
        codec = Codec(replace(config, sizes=(1,) * len(config.sizes)))
    except (TypeError, ValueError, RuntimeError, ArithmeticError, LookupError) as error:
        raise UniAudioError(
            f"{show(stored.description)}: describes no codec that can be built ({first_line(error)}); fetch it again"
        ) from error
    if hops != {config.hop_length}:
        made = " and ".join(map(str, sorted(hops)))
        raise UniAudioError(
            f"{show(stored.description)}: its rates make a hop of {made}, not {config.hop_length}; fetch it again"
        )
    codec.config = config
    for level, size in zip(codec.quantizer.levels(), config.sizes, strict=True):
        level.codebook = nn.Embedding.from_pretrained(torch.empty(size, config.embedding_dim, device="meta"))
    remove_weight_norm(codec)
    return codec


def _hops(config: CodecConfig) -> set[int]:
    """Samples per latent frame as the encoder and the decoder have it."""
    if config.architecture == "small":
        return {SUBHOP * LATENT_RATE}
    return {math.prod(config.encoder["encoder_rates"]), math.prod(config.decoder["decoder_rates"])}

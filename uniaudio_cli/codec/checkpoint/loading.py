"""`load_codec`: a checkpoint of either form to a `Codec`. Weight norm may be folded or not, in either spelling."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from uniaudio_cli.codec.architectures.published import remove_weight_norm
from uniaudio_cli.codec.checkpoint.own import read_own, save_codec
from uniaudio_cli.codec.checkpoint.published_files import read_published
from uniaudio_cli.codec.checkpoint.stored import PROJECTED, StoredCodec, fold_weight_norm
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.core.errors import MissingWeightsError, UniAudioError, UsageError, first_line
from uniaudio_cli.core.paths import show


def load_codec(
    checkpoint: str | Path,
    config: str | Path | None = None,
    words: str | Path | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    keep_codebooks: bool = False,
) -> Codec:
    """A codec for inference: frozen, weight norm folded, codebooks projected (in float32 whatever `dtype` is).

    Args:
        checkpoint: the published pickle, NAME.safetensors (or NAME.json), or a folder with one such pair.
        config: the published YAML or our JSON; by default the file beside `checkpoint`.
        words: the published level-0 words (.npy); by default the file beside `checkpoint`. Our own form includes them.
        dtype: of the networks' weights.
        keep_codebooks: keep the raw codebooks too (over 1 GB at the published size), to save them again.

    Raises:
        MissingWeightsError: a file is missing.
        UniAudioError: a file is broken, holds a NaN or an infinite weight, or the files do not fit each other.
    """
    checkpoint = Path(checkpoint)
    if not checkpoint.exists():
        raise MissingWeightsError(
            f"{show(checkpoint)}: no such file; give a codec's NAME.safetensors or a published one"
        )
    if checkpoint.is_dir() or checkpoint.suffix in (".safetensors", ".json"):
        if words is not None:
            raise UsageError(f"{show(checkpoint)}: holds its own words; leave {show(words)} out")
        stored = read_own(checkpoint, config)
    else:
        stored = read_published(checkpoint, config, words)
    codec = _filled(stored, keep_codebooks)
    # Parameters only: buffers such as windows and mel filters stay in float32.
    for network in codec.networks():
        for parameter in network.parameters():
            parameter.data = parameter.data.to(dtype)
    return codec.eval().requires_grad_(False).to(device)


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
    """Load any checkpoint and save it in our own form; with `inference`, in its smallest and fastest variant."""
    codec = load_codec(checkpoint, config, words, keep_codebooks=not inference)
    return save_codec(codec, out, inference, dtype, codebook_dtype, force)


def _filled(stored: StoredCodec, keep_codebooks: bool) -> Codec:
    """The codec of `stored`, its codebooks projected."""
    codec = _blank(stored)
    for name, value in stored.state.items():
        _check_finite(stored, name, value)
    state = fold_weight_norm(stored.state)
    for index, level in enumerate(codec.quantizer.levels()):
        name = PROJECTED.format(index)
        if name in state:
            _check_shape(stored, name, state[name], (stored.config.sizes[index], stored.config.latent_dim))
            level.set_projected(state.pop(name).float())
            level.drop_codebook()
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
                level.drop_codebook()
    return codec


def _check_finite(stored: StoredCodec, name: str, value: Tensor) -> None:
    if value.is_floating_point() and not bool(value.isfinite().all()):
        count = int((~value.isfinite()).sum())
        raise UniAudioError(
            f"{show(stored.weights)}: {name} holds {count} values that are NaN or infinite; fetch or train it again"
        )


def _check_shape(stored: StoredCodec, name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(value.shape) != shape or not value.is_floating_point():
        raise UniAudioError(
            f"{show(stored.weights)}: {name} is {value.dtype} {list(value.shape)}, but {show(stored.description)} "
            f"needs floats {list(shape)}; check that they belong together"
        )


def _blank(stored: StoredCodec) -> Codec:
    """A codec without weight norm and with codebooks on the meta device, to be filled with the files' tensors."""
    config = stored.config
    try:
        hop_length = config.networks().hop_length
        codec = Codec(config.model_copy(update={"sizes": (1,) * len(config.sizes)}))
    except (UsageError, TypeError, ValueError, RuntimeError, ArithmeticError, LookupError) as error:
        raise UniAudioError(
            f"{show(stored.description)}: describes no codec that can be built ({first_line(error)}); fetch it again"
        ) from error
    if hop_length != config.hop_length:
        raise UniAudioError(
            f"{show(stored.description)}: its networks have a hop of {hop_length}, not {config.hop_length}; "
            "fetch it again"
        )
    codec.config = config
    for level, size in zip(codec.quantizer.levels(), config.sizes, strict=True):
        level.codebook = nn.Embedding.from_pretrained(torch.empty(size, config.embedding_dim, device="meta"))
    remove_weight_norm(codec)
    return codec

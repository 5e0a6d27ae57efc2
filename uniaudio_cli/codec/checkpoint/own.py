"""Our own checkpoint form: NAME.safetensors with the weights and NAME.json with the `CodecConfig`.

The quantiser is stored raw (`codebook.weight`, `cb_proj.*`), as training writes it, or for inference (`projected`), as
`convert` writes it: a quarter of the size at the published widths.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from uniaudio_cli.codec.checkpoint.stored import PROJECTED, QUANTIZER, StoredCodec, fold_weight_norm
from uniaudio_cli.codec.config import read_description, write_description
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.core.errors import MissingWeightsError, UniAudioError, UsageError, first_line
from uniaudio_cli.core.paths import atomic, show


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
        inference: fold weight norm, and store projected codebooks (float32) in place of the raw ones.
        dtype: of the networks' weights; by default unchanged.
        codebook_dtype: of the raw codebooks; by default unchanged.
        force: replace existing files.

    Raises:
        UsageError: `path` has another suffix or exists, or raw codebooks are to be stored that the codec lacks.
        UniAudioError: the files cannot be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise UsageError(f"{show(path)}: a codec's file must be called NAME.safetensors")
    levels = codec.quantizer.levels()
    if not inference and not all(hasattr(level, "codebook") for level in levels):
        raise UsageError(f"{show(path)}: this codec was loaded without its codebooks; save it for inference")
    state: dict[str, Tensor] = dict(codec.state_dict())
    if inference:
        state = fold_weight_norm({name: value for name, value in state.items() if not name.startswith(QUANTIZER)})
        state |= {PROJECTED.format(index): level.projection() for index, level in enumerate(levels)}
    buffers = {name for name, _ in codec.named_buffers()}
    written = {}
    for name, value in state.items():
        if name.endswith("codebook.weight"):
            value = value.to(codebook_dtype or value.dtype)
        elif not name.startswith(QUANTIZER) and name not in buffers:
            value = value.to(dtype or value.dtype)
        # Cloned, because levels may share one codebook and safetensors refuses shared memory.
        written[name] = value.detach().cpu().contiguous().clone()
    with atomic(path, force=force) as weights, atomic(path.with_suffix(".json"), force=force) as description:
        mode = weights.stat().st_mode
        try:
            save_file(written, weights, metadata={"format": "pt"})
            weights.chmod(mode)  # safetensors makes files that only their owner can read
            write_description(description, codec.config)
        except SafetensorError as error:
            raise UniAudioError(f"{show(path)}: cannot be written ({first_line(error)})") from error
    return path


def read_own(checkpoint: Path, description: str | Path | None = None) -> StoredCodec:
    """The codec in NAME.safetensors, NAME.json, or the only such pair of a folder.

    Raises:
        MissingWeightsError: a file is missing.
        UsageError: the folder holds several codecs.
        UniAudioError: a file is broken.
    """
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
    return StoredCodec(config, state, weights, description)

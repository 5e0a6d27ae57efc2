"""GGUF files to folders that transformers loads in a second or two: safetensors, config, tokenizer.

Tensors are dequantised one by one, in blocks of rows, and written as they come, so that the conversion needs a few
hundred megabytes beside the memory-mapped file, whatever the size of the model.
"""

from __future__ import annotations

import contextlib
import io
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from uniaudio_cli.core.errors import UniAudioError, first_line
from uniaudio_cli.core.paths import show
from uniaudio_cli.core.quiet import quiet_transformers
from uniaudio_cli.models.download import Progress, silent

if TYPE_CHECKING:
    from gguf import GGUFReader, ReaderTensor
    from transformers import PretrainedConfig

# GGUF files name a pre-tokenizer; under these each digit is a piece of its own (llama.cpp, llama-vocab.cpp). The
# conversion in transformers leaves that out: "  2" or "\n\n2" would get other ids than the original tokenizer gives.
DIGITS_APART = frozenset({"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"})
# Architectures whose tensors are those of transformers under other names, `llama` except for the rows of q and k.
# Others go through transformers, which holds the whole model in float32.
ARCHITECTURES = frozenset({"qwen2", "qwen3", "llama"})
LARGEST_FLOAT32 = 300_000_000  # parameters; larger models are kept in bfloat16, half the size
ROWS_AT_ONCE = 4096
WEIGHTS = "model.safetensors"
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
# Relative difference below which embedding and head are two quantisations of one matrix (Q4_K has about .08).
TIED_BELOW = 0.15
DTYPES = {"bfloat16": ("BF16", 2), "float16": ("F16", 2), "float32": ("F32", 4)}


@dataclass(frozen=True)
class Weight:
    """A tensor of the model and where its values are: `heads` above 0 says that its rows are rotary pairs."""

    name: str
    source: ReaderTensor
    shape: tuple[int, ...]
    heads: int = 0


def convert_gguf(gguf: Path, folder: Path, progress: Progress = silent, dtype: str = "") -> None:
    """Write a GGUF model to `folder` as safetensors with its config, generation config and tokenizer.

    A head that the original shares with the embedding is written once, from the finer of the two quantisations.

    Args:
        dtype: "float32" or "bfloat16"; "" takes float32 for small models.

    Raises:
        UniAudioError: it is no GGUF file, or of a kind that transformers does not know.
    """
    progress(f"converting {gguf.name} to safetensors, once (about a minute)")
    try:
        # One bar of the GGUF reader obeys no setting.
        with quiet_transformers(), contextlib.redirect_stderr(io.StringIO()):
            _convert(gguf, folder, dtype)
    except (ValueError, LookupError, ArithmeticError, RuntimeError, ImportError, struct.error) as error:
        raise UniAudioError(f"{show(gguf)}: cannot be converted ({first_line(error)})") from error


def _convert(gguf: Path, folder: Path, dtype: str) -> None:
    from gguf import GGUFReader
    from transformers import AutoConfig, AutoTokenizer

    reader = GGUFReader(gguf)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    if _field(reader, "tokenizer.ggml.pre") in DIGITS_APART:
        from tokenizers.pre_tokenizers import Digits
        from tokenizers.pre_tokenizers import Sequence as Steps

        backend = tokenizer.backend_tokenizer
        backend.pre_tokenizer = Steps([Digits(individual_digits=True), backend.pre_tokenizer])
    tokenizer.save_pretrained(folder)
    config = AutoConfig.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    parameters = sum(int(np.prod(tensor.shape)) for tensor in reader.tensors)
    dtype = dtype or ("float32" if parameters <= LARGEST_FLOAT32 else "bfloat16")
    if _field(reader, "general.architecture") in ARCHITECTURES:
        _stream(reader, config, folder, dtype)
    else:
        _with_transformers(gguf, config, folder, dtype)


def _stream(reader: GGUFReader, config: PretrainedConfig, folder: Path, dtype: str) -> None:
    from transformers import GenerationConfig

    weights = _weights(reader, str(_field(reader, "general.architecture")), config)
    config.tie_word_embeddings = all(weight.name != HEAD for weight in weights)
    config.dtype = dtype
    config.save_pretrained(folder)
    GenerationConfig(
        bos_token_id=_field(reader, "tokenizer.ggml.bos_token_id"),
        eos_token_id=_field(reader, "tokenizer.ggml.eos_token_id"),
        pad_token_id=_field(reader, "tokenizer.ggml.padding_token_id"),
    ).save_pretrained(folder)
    _write(weights, folder / WEIGHTS, dtype)


def _with_transformers(gguf: Path, config: PretrainedConfig, folder: Path, dtype: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    packed = AutoModelForCausalLM.from_pretrained(
        str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32, **_unpacking()
    )
    # A model that came out of a GGUF file refuses to be saved, even unpacked: its weights move into a plain one.
    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(packed.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = packed.generation_config
    plain.to(getattr(torch, dtype)).save_pretrained(folder)


def _unpacking() -> dict[str, Any]:
    """Arguments that make transformers unpack every weight; older releases always do and know no such class."""
    try:
        from transformers import GgufConfig
    except ImportError:
        return {}
    return {"quantization_config": GgufConfig(dequantize=True)}


def _field(reader: GGUFReader, key: str) -> object:
    field = reader.fields.get(key)
    return field.contents() if field else None


def _weights(reader: GGUFReader, architecture: str, config: PretrainedConfig) -> list[Weight]:
    """Every tensor of the model in the order of its state dict."""
    import torch
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in AutoModelForCausalLM.from_config(config).state_dict().items()}
    arch = next(arch for arch, name in MODEL_ARCH_NAMES.items() if name == architecture)
    to_gguf = get_tensor_name_map(arch, config.num_hidden_layers)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    weights = {}
    for name, shape in shapes.items():
        base, _, suffix = name.rpartition(".")
        source = tensors.get(f"{to_gguf.get_name(base)}.{suffix}")
        if source is None:
            if name == HEAD:  # tied in the file
                continue
            raise ValueError(f"the GGUF file has no tensor for {name}")
        if tuple(int(n) for n in reversed(source.shape)) != shape:
            raise ValueError(f"{source.name} is of shape {tuple(reversed(source.shape))}, {name} of {shape}")
        rotary = heads.get(base.rpartition(".")[2], 0) if architecture == "llama" else 0
        weights[name] = Weight(name, source, shape, rotary)
    if HEAD in weights and _same_matrix(weights[EMBEDDING].source, weights[HEAD].source):
        head = weights.pop(HEAD).source
        if head.n_bytes > weights[EMBEDDING].source.n_bytes:
            weights[EMBEDDING] = Weight(EMBEDDING, head, weights[EMBEDDING].shape)
    return list(weights.values())


def _same_matrix(a: ReaderTensor, b: ReaderTensor, rows: int = 512) -> bool:
    from gguf import dequantize

    if tuple(a.shape) != tuple(b.shape):
        return False
    some = slice(1000, 1000 + rows)
    x, y = dequantize(a.data[some], a.tensor_type), dequantize(b.data[some], b.tensor_type)
    return bool(np.linalg.norm(x - y) < TIED_BELOW * np.linalg.norm(x))


def _write(weights: list[Weight], path: Path, dtype: str) -> None:
    """One safetensors file: the length of the header, the header, then the tensors' bytes in its order."""
    code, size = DTYPES[dtype]
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for weight in weights:
        start, end = end, end + size * int(np.prod(weight.shape))
        header[weight.name] = {"dtype": code, "shape": list(weight.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for weight in weights:
            _write_tensor(weight, file, dtype)


def _write_tensor(weight: Weight, file: BinaryIO, dtype: str) -> None:
    import torch

    for block in _blocks(weight):
        values = torch.from_numpy(block).to(getattr(torch, dtype))
        file.write(values.contiguous().view(torch.uint8).numpy().data)


def _blocks(weight: Weight) -> Iterator[np.ndarray]:
    """float32 values in blocks of whole rows."""
    from gguf import dequantize

    data, kind = weight.source.data, weight.source.tensor_type
    if weight.heads:
        yield _halves(dequantize(data, kind), weight.heads)
    elif len(weight.shape) == 1:
        yield dequantize(data, kind).reshape(weight.shape)
    else:
        for start in range(0, len(data), ROWS_AT_ONCE):
            yield dequantize(data[start : start + ROWS_AT_ONCE], kind)


def _halves(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows of q or k as transformers rotates them, first halves then second, from neighbouring pairs."""
    return np.ascontiguousarray(rows.reshape(heads, -1, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape))

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
from uniaudio_cli.models.gguf_file import GGUFFile, PackedTensor, read_gguf

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

# GGUF files name a pre-tokenizer; under these each digit is a piece of its own (llama.cpp, llama-vocab.cpp). The
# conversion in transformers leaves that out: "  2" or "\n\n2" would get other ids than the original tokenizer gives.
DIGITS_APART = frozenset({"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"})
# Architectures whose tensors are those of transformers under other names, `llama` except for the rows of q and k.
# Others go through transformers, which holds the whole model in float32.
ARCHITECTURES = frozenset({"qwen2", "qwen3", "llama"})
LARGEST_FLOAT32 = 300_000_000  # parameters; larger models are kept in bfloat16, half the size
WEIGHTS = "model.safetensors"
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
# Relative difference below which embedding and head are two quantisations of one matrix (Q4_K has about .08).
TIED_BELOW = 0.15
# Architectures whose config and tokenizer are made from the header here; transformers needs a minute for each.
READ_HERE = frozenset({"qwen2", "qwen3"})
# Key of the config in transformers <- key of the header after "ARCHITECTURE.".
CONFIG_KEYS = {
    "num_hidden_layers": "block_count",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "max_position_embeddings": "context_length",
}
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4  # types of tokens; no merge makes the last two
DTYPES = {"bfloat16": ("BF16", 2), "float16": ("F16", 2), "float32": ("F32", 4)}


@dataclass(frozen=True)
class Weight:
    """A tensor of the model and where its values are: `heads` above 0 says that its rows are rotary pairs."""

    name: str
    source: PackedTensor
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
    from transformers import AutoConfig

    file = read_gguf(gguf)
    folder.mkdir(parents=True, exist_ok=True)
    parameters = sum(int(np.prod(tensor.shape, dtype=np.int64)) for tensor in file.tensors.values())
    dtype = dtype or ("float32" if parameters <= LARGEST_FLOAT32 else "bfloat16")
    here = file.architecture in READ_HERE and file.fields.get("tokenizer.ggml.pre") == "qwen2"
    tokenizer = _tokenizer_of(file) if here else _tokenizer_by_transformers(gguf, file)
    tokenizer.save_pretrained(folder)
    config = _config_of(file) if here else AutoConfig.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    if file.architecture in ARCHITECTURES:
        _stream(file, config, folder, dtype)
    else:
        _with_transformers(gguf, config, folder, dtype)


def _tokenizer_by_transformers(gguf: Path, file: GGUFFile) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    if file.fields.get("tokenizer.ggml.pre") in DIGITS_APART:
        from tokenizers.pre_tokenizers import Digits
        from tokenizers.pre_tokenizers import Sequence as Steps

        backend = tokenizer.backend_tokenizer
        backend.pre_tokenizer = Steps([Digits(individual_digits=True), backend.pre_tokenizer])
    return tokenizer


def _tokenizer_of(file: GGUFFile) -> PreTrainedTokenizerBase:
    """Qwen's tokenizer as its own files have it: NFC, no token before a text, no words for unused rows."""
    from transformers import AddedToken, Qwen2Tokenizer

    fields = file.fields
    tokens, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    apart = [i for i, kind in enumerate(kinds) if kind in (CONTROL, USER_DEFINED)]
    ends = {key: tokens[fields[f"tokenizer.ggml.{key}_token_id"]] for key in ("eos", "padding")}
    tokenizer: PreTrainedTokenizerBase = Qwen2Tokenizer(
        vocab={token: i for i, token in enumerate(tokens) if kinds[i] in (NORMAL, CONTROL, USER_DEFINED)},
        merges=[tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]],  # type: ignore[misc]
        unk_token=None,  # type: ignore[arg-type]
        eos_token=ends["eos"],
        pad_token=ends["padding"],
    )
    tokenizer.add_tokens([AddedToken(tokens[i], special=kinds[i] == CONTROL, normalized=False) for i in apart])
    wrong = [i for i in apart if tokenizer.convert_tokens_to_ids(tokens[i]) != i]
    if wrong:
        raise ValueError(f"token {tokens[wrong[0]]!r} would get another id than {wrong[0]}")
    tokenizer.chat_template = fields.get("tokenizer.chat_template")
    return tokenizer


def _config_of(file: GGUFFile) -> PretrainedConfig:
    from transformers import AutoConfig

    fields = {key.removeprefix(f"{file.architecture}."): value for key, value in file.fields.items()}
    config: PretrainedConfig = AutoConfig.for_model(
        file.architecture,
        **{key: fields[name] for key, name in CONFIG_KEYS.items() if name in fields},
        rope_parameters={"rope_type": "default", "rope_theta": fields["rope.freq_base"]},
        vocab_size=len(fields["tokenizer.ggml.tokens"]),
        bos_token_id=fields.get("tokenizer.ggml.bos_token_id"),
        eos_token_id=fields.get("tokenizer.ggml.eos_token_id"),
        pad_token_id=fields.get("tokenizer.ggml.padding_token_id"),
    )
    return config


def _stream(file: GGUFFile, config: PretrainedConfig, folder: Path, dtype: str) -> None:
    from transformers import GenerationConfig

    weights = _weights(file, config)
    config.tie_word_embeddings = all(weight.name != HEAD for weight in weights)
    config.dtype = dtype
    config.save_pretrained(folder)
    GenerationConfig(
        bos_token_id=file.fields.get("tokenizer.ggml.bos_token_id"),
        eos_token_id=file.fields.get("tokenizer.ggml.eos_token_id"),
        pad_token_id=file.fields.get("tokenizer.ggml.padding_token_id"),
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


def _weights(file: GGUFFile, config: PretrainedConfig) -> list[Weight]:
    """Every tensor of the model in the order of its state dict."""
    import torch
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in AutoModelForCausalLM.from_config(config).state_dict().items()}
    arch = next(arch for arch, name in MODEL_ARCH_NAMES.items() if name == file.architecture)
    to_gguf = get_tensor_name_map(arch, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    weights = {}
    for name, shape in shapes.items():
        base, _, suffix = name.rpartition(".")
        source = file.tensors.get(f"{to_gguf.get_name(base)}.{suffix}")
        if source is None:
            if name == HEAD:  # tied in the file
                continue
            raise ValueError(f"the GGUF file has no tensor for {name}")
        if source.shape != shape:
            raise ValueError(f"the GGUF file's tensor for {name} is of shape {source.shape}, not {shape}")
        rotary = heads.get(base.rpartition(".")[2], 0) if file.architecture == "llama" else 0
        weights[name] = Weight(name, source, shape, rotary)
    if HEAD in weights and _same_matrix(weights[EMBEDDING].source, weights[HEAD].source):
        head = weights.pop(HEAD).source
        if head.data.nbytes > weights[EMBEDDING].source.data.nbytes:
            weights[EMBEDDING] = Weight(EMBEDDING, head, weights[EMBEDDING].shape)
    return list(weights.values())


def _same_matrix(a: PackedTensor, b: PackedTensor, rows: int = 512) -> bool:
    if a.shape != b.shape:
        return False
    some = slice(len(a.data) // 8, len(a.data) // 8 + rows)
    x, y = a.rows(some), b.rows(some)
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
        # A copy, as values of a float32 tensor are views of the read-only file.
        values = torch.from_numpy(np.array(block)).to(getattr(torch, dtype))
        file.write(values.contiguous().view(torch.uint8).numpy().data)


def _blocks(weight: Weight) -> Iterator[np.ndarray]:
    """float32 values in blocks of whole rows."""
    if weight.heads:
        yield _halves(weight.source.rows(slice(None)), weight.heads)
    else:
        yield from weight.source.blocks()


def _halves(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows of q or k as transformers rotates them, first halves then second, from neighbouring pairs."""
    return np.ascontiguousarray(rows.reshape(heads, -1, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape))

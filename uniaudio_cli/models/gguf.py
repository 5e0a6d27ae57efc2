"""TODO."""

from __future__ import annotations

import contextlib
import io
import struct
from pathlib import Path

from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.core.paths import show
from uniaudio_cli.core.quiet import quiet_transformers
from uniaudio_cli.models.download import Progress, first_line, silent

# GGUF files name a pre-tokenizer; under these each digit is a piece of its own (llama.cpp, llama-vocab.cpp). The
# conversion in transformers leaves that out: "  2" or "\n\n2" would get other ids than the original tokenizer gives.
DIGITS_APART = frozenset({"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"})


def convert_gguf(gguf: Path, folder: Path, progress: Progress = silent) -> None:
    """Write a GGUF model to `folder` as float32 safetensors with its tokenizer, which load in a second or two.

    Raises:
        UniAudioError: it is no GGUF file, or of a kind that transformers does not know.
    """
    progress(f"converting {gguf.name} to safetensors, once (about a minute)")
    try:
        # One bar of the GGUF reader obeys no setting.
        with quiet_transformers(), contextlib.redirect_stderr(io.StringIO()):
            _convert(gguf, folder)
    except (ValueError, LookupError, ArithmeticError, RuntimeError, ImportError, struct.error) as error:
        raise UniAudioError(f"{show(gguf)}: cannot be converted ({first_line(error)})") from error


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    where, name = str(gguf.parent), gguf.name
    config = AutoConfig.from_pretrained(where, gguf_file=name)
    packed = AutoModelForCausalLM.from_pretrained(where, gguf_file=name, dtype=torch.float32, **_unpacking())
    # A model that came out of a GGUF file refuses to be saved, even unpacked: its weights move into a plain one.
    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(packed.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = packed.generation_config
    plain.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=name)
    if _pre_tokenizer(gguf) in DIGITS_APART:
        from tokenizers.pre_tokenizers import Digits
        from tokenizers.pre_tokenizers import Sequence as Steps

        backend = tokenizer.backend_tokenizer
        backend.pre_tokenizer = Steps([Digits(individual_digits=True), backend.pre_tokenizer])
    tokenizer.save_pretrained(folder)


def _unpacking() -> dict[str, object]:
    """Arguments that make transformers unpack every weight; older releases always do and know no such class."""
    try:
        from transformers import GgufConfig
    except ImportError:
        return {}
    return {"quantization_config": GgufConfig(dequantize=True)}


def _pre_tokenizer(gguf: Path) -> str:
    from gguf import GGUFReader

    field = GGUFReader(gguf).fields.get("tokenizer.ggml.pre")
    return bytes(field.parts[field.data[0]]).decode("utf-8") if field else ""

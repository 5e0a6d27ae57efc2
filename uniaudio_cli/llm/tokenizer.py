"""Tokenizers: one small protocol over Hugging Face and SentencePiece files; no token is added or hidden."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from uniaudio_cli.core.errors import MissingWeightsError, UsageError, first_line

TOKENIZER_FILES = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "config.json")


class Tokenizer(Protocol):
    """What the rest of the package needs of an LLM's tokenizer.

    `size`: how many ids there are. `bos_id`, `eos_id`: None where the LLM has none.
    """

    @property
    def size(self) -> int: ...

    @property
    def bos_id(self) -> int | None: ...

    @property
    def eos_id(self) -> int | None: ...

    def encode(self, text: str) -> list[int]:
        """The ids of `text` alone; what looks like a special token in it is read as plain text."""
        ...

    def decode(self, ids: Sequence[int]) -> str: ...

    def token(self, id: int) -> str:
        """The tokenizer's own spelling of one id, such as "▁river" or "Ġriver"."""
        ...

    @property
    def start_ids(self) -> tuple[int, ...]:
        """What the LLM's own tokenizer puts before every text: the first token, or nothing."""
        ...

    def word_ids(self, word: str) -> tuple[int, ...]:
        """How a whole word stands in running text: "river" is one id of "a river" for most tokenizers."""
        ...


class HuggingFaceTokenizer:
    """A transformers tokenizer (an object, already loaded)."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._lead = _word_lead(self.encode)

    @property
    def size(self) -> int:
        return len(self._tokenizer)

    @property
    def bos_id(self) -> int | None:
        return self._tokenizer.bos_token_id

    @property
    def eos_id(self) -> int | None:
        return self._tokenizer.eos_token_id

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)

    @property
    def start_ids(self) -> tuple[int, ...]:
        plain, whole = self.encode("a"), self._tokenizer.encode("a")
        return tuple(whole[: whole.index(plain[0])])

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def token(self, id: int) -> str:
        token = self._tokenizer.convert_ids_to_tokens(id)
        if token is None:
            raise IndexError(f"the tokenizer has no id {id}")
        return token

    def word_ids(self, word: str) -> tuple[int, ...]:
        return tuple(self.encode(self._lead + word))


class SentencePieceTokenizer:
    """Raw SentencePiece on a `tokenizer.model`.

    Every text gets the model's dummy prefix, so " >" is "▁", "▁>" (LLaMA's kind); front ends that drop the first of
    them give other ids than the published scripts did.
    """

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        self._lead = _word_lead(self.encode)

    @property
    def size(self) -> int:
        return self._processor.get_piece_size()

    @property
    def bos_id(self) -> int | None:
        return None if self._processor.bos_id() < 0 else self._processor.bos_id()

    @property
    def eos_id(self) -> int | None:
        return None if self._processor.eos_id() < 0 else self._processor.eos_id()

    @property
    def start_ids(self) -> tuple[int, ...]:
        return () if self.bos_id is None else (self.bos_id,)

    def encode(self, text: str) -> list[int]:
        return self._processor.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        return self._processor.decode(list(ids))

    def token(self, id: int) -> str:
        return self._processor.id_to_piece(id)

    def word_ids(self, word: str) -> tuple[int, ...]:
        return tuple(self.encode(self._lead + word))


def load_tokenizer(
    folder_or_name: str | Path, gguf_file: str | None = None, local_files_only: bool = True
) -> HuggingFaceTokenizer | SentencePieceTokenizer:
    """The tokenizer of a folder, or of a Hugging Face name (only its tokenizer files are fetched).

    Raw SentencePiece where there is a `tokenizer.model` and no byte-level `tokenizer.json`; transformers otherwise.

    Raises:
        MissingWeightsError: the files are not here, and may not or cannot be fetched.
        UsageError: they are here but no tokenizer can be made of them.
    """
    folder = Path(folder_or_name)
    if not folder.is_dir():
        folder = _fetch(str(folder_or_name), gguf_file, local_files_only)
    try:
        if (
            gguf_file is None
            and (folder / "tokenizer.model").is_file()
            and not _is_byte_level(folder / "tokenizer.json")
        ):
            from sentencepiece import SentencePieceProcessor

            return SentencePieceTokenizer(SentencePieceProcessor(model_file=str(folder / "tokenizer.model")))
        from transformers import AutoTokenizer

        options = {} if gguf_file is None else {"gguf_file": gguf_file}
        return HuggingFaceTokenizer(AutoTokenizer.from_pretrained(str(folder), local_files_only=True, **options))
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise UsageError(f"{folder_or_name}: no tokenizer can be read there ({first_line(error)})") from error


def _fetch(name: str, gguf_file: str | None, local_files_only: bool) -> Path:
    from huggingface_hub import snapshot_download

    wanted = [*TOKENIZER_FILES, *([gguf_file] if gguf_file else [])]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted, local_files_only=local_files_only))
    except (OSError, ValueError) as error:
        what = "no such folder, and not among the downloaded models" if local_files_only else "no such folder or model"
        raise MissingWeightsError(f"{name}: {what} ({first_line(error)})") from error


def _word_lead(encode: Callable[[str], list[int]]) -> str:
    """What has to stand before a word for `encode` to give it the ids it has in the middle of a text.

    Byte-level BPE has " river" and "river" as two tokens; SentencePiece adds the space itself.
    """
    return "" if encode("river river") == 2 * encode("river") else " "


def _is_byte_level(tokenizer_json: Path) -> bool:
    if not tokenizer_json.is_file():
        return False
    content = json.loads(tokenizer_json.read_text(encoding="utf-8"))
    return any('"ByteLevel"' in json.dumps(content.get(part)) for part in ("pre_tokenizer", "decoder"))

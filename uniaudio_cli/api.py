"""`load`: a model preset's name in, a `Kit` out. The door of the Python API. Never knows tasks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from uniaudio_cli.codec.checkpoint.own import load_codec
from uniaudio_cli.codec.config import CodecConfig
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.core.device import choose_device, choose_dtype
from uniaudio_cli.core.paths import cache_dir
from uniaudio_cli.inference.code_cache import CodeCache
from uniaudio_cli.inference.pipeline import Kit
from uniaudio_cli.llm.loading import lazy_lm
from uniaudio_cli.llm.tokenizer import load_tokenizer
from uniaudio_cli.models import registry as models
from uniaudio_cli.prompting.vocabulary import Vocabulary, vocabulary_for


def load(
    model: str = models.DEFAULT_MODEL,
    *,
    lm: str | Path | None = None,
    codec: str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    bits: int | None = None,
    offline: bool = False,
    progress: Callable[[str], None] = lambda line: None,
) -> Kit:
    """Load a codec and a frozen LLM and check that one can be written in the other's ids.

    Args:
        model: a preset ("small", "llama2-7b", ...); `lm` and `codec` replace its parts by a preset, folder or file.
        device: "auto" takes a GPU where there is one. dtype: "auto" is bfloat16, and float32
            on a CPU that does not compute in it; on a CPU, audio is then written with 8-bit weights.
        bits: 4 or 8 loads the LLM quantised.

    Raises:
        UsageError: an unknown name, or an LLM this codec cannot be written for.
        MissingWeightsError: files are missing and cannot be fetched.
    """
    place = choose_device(device)
    # The cheap checks come first: nobody waits for an LLM to load to hear that it cannot be used.
    hearing, vocabulary = load_hearing(model, lm=lm, codec=codec, device=place, offline=offline, progress=progress)
    files = models.resolve_lm(lm or models.resolve_model(model).lm, offline, progress)
    # Writing on a CPU waits for memory: a quarter of the bytes make it more than twice as quick (benchmarks/lm.py).
    quick = 8 if dtype == "auto" and bits is None and place == "cpu" else None
    asked = lazy_lm(str(files.folder), files.name, quick, device=place, dtype=choose_dtype(dtype, place), bits=bits)
    return Kit(hearing, asked, vocabulary, CodeCache(cache_dir() / "codes", hearing))


def load_hearing(
    model: str = models.DEFAULT_MODEL,
    *,
    lm: str | Path | None = None,
    codec: str | Path | None = None,
    device: str = "cpu",
    offline: bool = False,
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[Codec, Vocabulary]:
    """The codec and the vocabulary of `load`, without the LLM's weights."""
    preset = models.resolve_model(model)
    files = models.resolve_codec(codec or preset.codec, offline, progress)
    hearing = load_codec(files.weights, files.config, files.words, device=device)
    lm_files = models.resolve_lm(lm or preset.lm, offline, progress)
    tokenizer = load_tokenizer(str(lm_files.folder))
    # Acoustic codes that are ids as they stand mean nothing to another LLM; the levels written in words still do.
    bare = [size for size, words in zip(hearing.config.sizes, hearing.config.words, strict=True) if words is None]
    worded = [level for level, words in enumerate(hearing.config.words) if words is not None]
    shown = worded if worded and set(bare) - {tokenizer.size} else None
    return hearing, vocabulary_for(hearing.config, tokenizer, shown)


def load_spelling(config: CodecConfig, lm: str | None) -> Callable[[int, int], str]:
    """(level, code) -> what a person reads: the codec's own word, else the LLM's spelling, else the number."""
    tokens = load_tokenizer(str(models.resolve_lm(lm).folder)).token if lm else None

    def spell(level: int, code: int) -> str:
        words = config.words[level]
        if words is not None:
            return words[code]
        return tokens(code) if tokens else str(code)

    return spell

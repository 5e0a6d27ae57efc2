"""The Python API: `load` returns a `Kit`, whose sessions classify, speak and enhance.

kit = load("small")
classifier = kit.classifier("demos/")            # demonstrations are encoded and prefilled once
for result in classifier.classify(["a.wav", "b.wav"]):
    print(result.file, result.label, result.scores)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from uniaudio_cli.codec.checkpoint import load_codec
from uniaudio_cli.codec.config import CodecConfig
from uniaudio_cli.codec.frozen.levels import FrozenLevels
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.core.device import choose_device, choose_dtype
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import cache_dir
from uniaudio_cli.data.demonstrations import choose, load_demonstrations
from uniaudio_cli.inference.answers import TextModel
from uniaudio_cli.inference.code_cache import CodeCache
from uniaudio_cli.inference.encoder import AudioEncoder
from uniaudio_cli.inference.enhance import Enhancer
from uniaudio_cli.inference.name_table import LLMScorer
from uniaudio_cli.inference.names import ZeroShotClassifier, names_by_llm
from uniaudio_cli.inference.session import Models
from uniaudio_cli.kit import Demos
from uniaudio_cli.kit import Kit as Kit
from uniaudio_cli.llm.loading import check_bits, lazy_lm, load_lm
from uniaudio_cli.llm.model import LanguageModel
from uniaudio_cli.llm.tokenizer import Tokenizer, load_tokenizer
from uniaudio_cli.models import registry
from uniaudio_cli.models.presets import DEFAULT_LM, DEFAULT_MODEL
from uniaudio_cli.prompting.vocabulary import Vocabulary, vocabulary_for


def load(
    model: str = DEFAULT_MODEL,
    *,
    lm: str | Path | None = None,
    codec: str | Path | None = None,
    answer_lm: str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    bits: int | None = None,
    offline: bool = False,
    defer_lm: bool = False,
    progress: Callable[[str], None] = lambda line: None,
) -> Kit:
    """Load a codec and a frozen LLM and check that the codec can be written in the LLM's ids.

    Args:
        model: a preset ("small", "llama2-7b", ...); `lm` and `codec` replace its parts by a preset, folder or file.
        answer_lm: another LLM that answers questions in text, which needs no words for the codec. It is loaded by the
            first question.
        device: "auto" takes a GPU where there is one. dtype: "auto" is bfloat16, and float32 on a CPU that does not
            compute in it; on a CPU, audio is then generated with 8-bit weights.
        bits: 4 or 8 loads the LLM quantised.
        defer_lm: leave the LLM's files alone, and errors about them, until something needs them.

    Raises:
        UsageError: an unknown name, or an LLM this codec cannot be written for.
        MissingWeightsError: files are missing and cannot be fetched.
    """
    place = choose_device(device)
    check_bits(bits)
    choose_dtype(dtype, place)  # refused now, though the LLM may be loaded later
    if answer_lm:  # refused or fetched before anything is loaded
        registry.resolve_lm(answer_lm, offline, progress)
    loaded = _load_codec(model, codec, place, offline, progress)
    frozen = _frozen_levels(offline, progress)
    encoder = AudioEncoder(loaded, CodeCache(cache_dir() / "codes", loaded), frozen)

    @cache
    def files() -> registry.LMFiles:
        return registry.resolve_lm(lm or registry.resolve_model(model).lm, offline, progress)

    @cache
    def language_model() -> LanguageModel:
        # Decoding on a CPU is bound by memory: a quarter of the bytes more than doubles its speed (benchmarks/lm.py).
        decode_bits = 8 if dtype == "auto" and bits is None and place == "cpu" else None
        options = {"device": place, "dtype": choose_dtype(dtype, place), "bits": bits}
        return lazy_lm(str(files().folder), files().name, decode_bits, **options)

    def language_side() -> tuple[LanguageModel, Vocabulary]:
        # The cheap checks come first, so that an LLM that cannot be used is refused before its weights load.
        vocabulary = _vocabulary(loaded, files())
        return language_model(), vocabulary

    # Names need no vocabulary: an LLM that the codec cannot be written for scores them too.
    scorer = LLMScorer(lambda: (language_model(), load_tokenizer(str(files().folder))))
    names = names_by_llm(frozen, scorer, lambda: _lm_key(files(), dtype, bits))
    answering = _answering(answer_lm, place, dtype, bits, offline, progress)
    models = Models(encoder, language_side, names, answering)
    if not defer_lm:
        _ = models.lm
    return Kit.of(models)


def _frozen_levels(offline: bool, progress: Callable[[str], None]) -> FrozenLevels:
    return FrozenLevels(lambda name: registry.resolve_encoder(name, offline, progress))


def _answering(
    name: str | Path | None, place: str, dtype: str, bits: int | None, offline: bool, progress: Callable[[str], None]
) -> Callable[[], TextModel] | None:
    """What loads an LLM of its own for answers in text, once."""
    if not name:
        return None

    @cache
    def load_text_model() -> TextModel:
        files = registry.resolve_lm(name, offline, progress)
        # A question is a few ids: most CPUs that compute in bfloat16 do so slower than in float32.
        kind = "float32" if dtype == "auto" and place == "cpu" else dtype
        lm = load_lm(str(files.folder), files.name, device=place, dtype=choose_dtype(kind, place), bits=bits)
        # Thoughts are decoded id by id, which is bound by memory.
        eight = LanguageModel(lm.model, lm.name, decode_bits=8) if kind == "float32" and bits is None else lm
        return eight, load_tokenizer(str(files.folder))

    return load_text_model


def load_zero_shot(
    labels: Sequence[str],
    descriptions: Mapping[str, str] | None = None,
    *,
    lm: str | Path = DEFAULT_LM,
    abstain_below: float = 0.0,
    device: str = "auto",
    dtype: str = "auto",
    bits: int | None = None,
    offline: bool = False,
    progress: Callable[[str], None] = lambda line: None,
) -> ZeroShotClassifier:
    """A session that labels clips by the labels' names, without demonstrations and without a codec.

    The LLM is loaded only for labels that it has not scored before.

    Args:
        descriptions: label -> a sentence, where the name says little. lm: preset, folder, .gguf or hub name.
        abstain_below: a clip gets no label where the likeliest has a lower probability. The rest as `load`.

    Raises:
        UsageError: an unknown LLM, fewer than two labels, or a description of none of them.
        MissingWeightsError: files are missing and cannot be fetched.
    """
    check_bits(bits)
    choose_dtype(dtype, choose_device(device))
    files = registry.resolve_lm(lm, offline, progress)

    def parts() -> tuple[LanguageModel, Tokenizer]:
        place = choose_device(device)
        loaded = load_lm(str(files.folder), files.name, device=place, dtype=choose_dtype(dtype, place), bits=bits)
        return loaded, load_tokenizer(str(files.folder))

    frozen = _frozen_levels(offline, progress)
    names = names_by_llm(frozen, LLMScorer(parts), lambda: _lm_key(files, dtype, bits))()
    return ZeroShotClassifier(frozen.tagger, names, labels, descriptions, abstain_below)


def load_enhancer(demos: Demos | None = None, *, shots: int = 8, seed: int = 0) -> Enhancer:
    """A session that filters noise out of recordings; needs neither a codec nor an LLM.

    Args:
        demos: a folder of (noisy, clean) pairs, or demonstrations, that it learns from; without any it is an ordinary
            noise filter.
        shots: pairs of a folder that are used, at most. seed: of their choice.

    Raises:
        UsageError: the folder or a pair is wrong.
        UniAudioError: a pair cannot be read.
    """
    if type(shots) is not int or shots < 1:
        raise UsageError(f"shots must be a whole number from 1 up, not {shots!r}")
    if isinstance(demos, str | Path):
        return Enhancer(choose(load_demonstrations(Path(demos), "pair"), shots, seed))
    return Enhancer(demos or ())


def _lm_key(files: registry.LMFiles, dtype: str, bits: int | None) -> str:
    """What the scores of an LLM depend on: its weights and how they are loaded."""
    key = f"{files.identity} {dtype} {bits}"
    if files.identity.startswith("folder:"):  # files may be replaced
        weights = sorted(path for path in files.folder.iterdir() if path.is_file())
        stats = [(path.name, path.stat()) for path in weights]
        key += "".join(f" {name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats)
    return key


def load_codec_and_vocabulary(
    model: str = DEFAULT_MODEL,
    *,
    lm: str | Path | None = None,
    codec: str | Path | None = None,
    device: str = "cpu",
    offline: bool = False,
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[Codec, Vocabulary]:
    """The codec and the vocabulary of `load`, without the LLM's weights."""
    loaded = _load_codec(model, codec, device, offline, progress)
    lm_files = registry.resolve_lm(lm or registry.resolve_model(model).lm, offline, progress)
    return loaded, _vocabulary(loaded, lm_files)


def _load_codec(
    model: str, codec: str | Path | None, device: str, offline: bool, progress: Callable[[str], None]
) -> Codec:
    preset = registry.resolve_model(model)  # also where another codec takes its place, so that a wrong name is refused
    files = registry.resolve_codec(codec or preset.codec, offline, progress)
    return load_codec(files.weights, files.config, files.words, device=device)


def _vocabulary(loaded: Codec, lm_files: registry.LMFiles) -> Vocabulary:
    """The codec's vocabulary in the LLM's ids."""
    tokenizer = load_tokenizer(str(lm_files.folder))
    # Codes that are ids of another LLM mean nothing to this one; the levels written in words still do.
    bare = [size for size, words in zip(loaded.config.sizes, loaded.config.words, strict=True) if words is None]
    in_words = [level for level, words in enumerate(loaded.config.words) if words is not None]
    levels = in_words if in_words and set(bare) - {tokenizer.size} else None
    return vocabulary_for(loaded.config, tokenizer, levels)


def load_spelling(config: CodecConfig, lm: str | None) -> Callable[[int, int], str]:
    """(level, code) -> what a person reads: the codec's own word, else the LLM's spelling, else the number."""
    tokens = load_tokenizer(str(registry.resolve_lm(lm).folder)).token if lm else None

    def spell(level: int, code: int) -> str:
        words = config.words[level]
        if words is not None:
            return words[code]
        return tokens(code) if tokens else str(code)

    return spell

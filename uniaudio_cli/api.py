"""The Python API: `load` returns a `Kit`, whose sessions classify, speak and enhance.

kit = load("small")
classifier = kit.classifier("demos/")            # demonstrations are encoded and prefilled once
for result in classifier.classify(["a.wav", "b.wav"]):
    print(result.file, result.label, result.scores)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from uniaudio_cli.audio.io import AudioInput, source_name
from uniaudio_cli.codec.checkpoint import load_codec
from uniaudio_cli.codec.config import CodecConfig
from uniaudio_cli.codec.frozen.yamnet import YAMNet, background
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.core.device import choose_device, choose_dtype
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.core.paths import cache_dir
from uniaudio_cli.data.demonstrations import Demonstration, load_demonstrations
from uniaudio_cli.inference.classify import Classifier
from uniaudio_cli.inference.code_cache import CodeCache
from uniaudio_cli.inference.encoder import AudioEncoder
from uniaudio_cli.inference.enhance import Enhancer
from uniaudio_cli.inference.name_table import LLMScorer, NameTable
from uniaudio_cli.inference.names import LLMAffinity, ZeroShotClassifier
from uniaudio_cli.inference.results import EnhancementResult, ErrorResult, LabelResult, SpeechResult
from uniaudio_cli.inference.selection import select_demonstrations
from uniaudio_cli.inference.session import Models
from uniaudio_cli.inference.speak import Speaker
from uniaudio_cli.llm.loading import lazy_lm, load_lm
from uniaudio_cli.llm.model import LanguageModel
from uniaudio_cli.llm.tokenizer import Tokenizer, load_tokenizer
from uniaudio_cli.models import registry
from uniaudio_cli.models.presets import DEFAULT_LM, DEFAULT_MODEL
from uniaudio_cli.prompting.task import Task, load_task
from uniaudio_cli.prompting.vocabulary import Vocabulary, vocabulary_for

Item = TypeVar("Item")
Result = TypeVar("Result")

Demos = str | Path | Sequence[Demonstration]
TaskLike = str | Path | Task

# The one dispatch table over a task's kind.
SESSIONS: Mapping[str, type[Classifier] | type[Speaker] | type[Enhancer]] = {
    "classify": Classifier,
    "speak": Speaker,
    "enhance": Enhancer,
}


class Kit:
    """A codec, a frozen LLM and the vocabulary between them.

    One kit serves many threads: its sessions take turns by `lock`, a re-entrant lock that a batch or a call holds.
    """

    def __init__(
        self,
        codec: Codec,
        lm: LanguageModel,
        vocabulary: Vocabulary,
        code_cache: CodeCache | None = None,
        lm_key: str = "",
    ) -> None:
        self.models = Models(AudioEncoder(codec, code_cache), lm, vocabulary, threading.RLock())
        self._lm_key = lm_key

    def __repr__(self) -> str:
        return f"Kit(lm={self.lm.name!r}, codec={self.codec.config.architecture!r})"

    @property
    def codec(self) -> Codec:
        return self.models.codec

    @property
    def lm(self) -> LanguageModel:
        return self.models.lm

    @property
    def vocabulary(self) -> Vocabulary:
        return self.models.vocabulary

    @property
    def encoder(self) -> AudioEncoder:
        return self.models.encoder

    @property
    def lock(self) -> threading.RLock:
        return self.models.lock

    def classifier(
        self,
        demos: Demos,
        task: TaskLike = "sound-event",
        *,
        shots: int | None = None,
        labels: Collection[str] | None = None,
        seed: int = 0,
    ) -> Classifier:
        """A session that labels clips.

        Args:
            demos: a folder of labelled clips, or demonstrations. task: a shipped task, a .yaml file or a `Task`.
            shots: demonstrations per label; the task's by default. labels: only these. seed: of the selection.

        Raises:
            UsageError: an argument, the task or the folder is wrong.
            UniAudioError: a demonstration cannot be read.
        """
        chosen = self._task(task, "classify")
        return Classifier(self.models, chosen, self._selected(chosen, demos, shots, labels, seed), seed)

    def speaker(
        self, demos: Demos, task: TaskLike = "spoken-answer", *, shots: int | None = None, seed: int = 0
    ) -> Speaker:
        """A session that speaks answers; arguments and errors as `classifier`."""
        chosen = self._task(task, "speak")
        return Speaker(self.models, chosen, self._selected(chosen, demos, shots, None, seed), seed)

    def enhancer(
        self, demos: Demos, task: TaskLike = "enhance", *, shots: int | None = None, seed: int = 0
    ) -> Enhancer:
        """A session that cleans recordings; arguments and errors as `classifier`."""
        chosen = self._task(task, "enhance")
        return Enhancer(self.models, chosen, self._selected(chosen, demos, shots, None, seed), seed)

    def zero_shot(
        self,
        labels: Sequence[str],
        descriptions: Mapping[str, str] | None = None,
        *,
        offline: bool = False,
        progress: Callable[[str], None] = lambda line: None,
    ) -> ZeroShotClassifier:
        """A session that labels clips by the labels' names, without demonstrations, with this kit's LLM.

        `load_zero_shot` does the same without a codec.

        Args:
            descriptions: label -> a sentence, where the name says little. offline: never fetch the tagger.

        Raises:
            UsageError: fewer than two labels, or a description of none of them.
            MissingWeightsError: the tagger is not here and cannot be fetched.
        """
        scorer = LLMScorer(lambda: (self.lm, self.vocabulary.tokenizer))
        return _zero_shot(labels, descriptions, scorer, self._lm_key, self.lock, 0.0, offline, progress)

    def session(
        self,
        task: Task,
        demos: Demos,
        *,
        shots: int | None = None,
        labels: Collection[str] | None = None,
        seed: int = 0,
    ) -> Classifier | Speaker | Enhancer:
        """The session of a task of any kind."""
        if labels is not None and task.demonstration_kind == "pair":
            raise UsageError(f"labels: the demonstrations of task {task.name} have none")
        return SESSIONS[task.kind](self.models, task, self._selected(task, demos, shots, labels, seed), seed)

    def classify(
        self,
        inputs: AudioInput | Iterable[AudioInput],
        demos: Demos,
        task: TaskLike = "sound-event",
        *,
        shots: int | None = None,
        labels: Collection[str] | None = None,
        seed: int = 0,
    ) -> Iterator[LabelResult | ErrorResult]:
        """One result per input, in order; an input that fails gives an `ErrorResult`. Arguments as `classifier`."""
        return self.classifier(demos, task, shots=shots, labels=labels, seed=seed).classify(as_inputs(inputs))

    def speak(
        self,
        inputs: str | Iterable[str],
        demos: Demos,
        task: TaskLike = "spoken-answer",
        *,
        think: bool | None = None,
        shots: int | None = None,
        seed: int = 0,
    ) -> Iterator[SpeechResult | ErrorResult]:
        """One spoken answer per text, in order. `think`: as `Speaker.speak`; the rest as `classifier`."""
        speaker = self.speaker(demos, task, shots=shots, seed=seed)
        texts = [inputs] if isinstance(inputs, str) else inputs
        return _each(texts, lambda text: speaker.speak(text, think), str)

    def enhance(
        self,
        inputs: AudioInput | Iterable[AudioInput],
        demos: Demos,
        task: TaskLike = "enhance",
        *,
        mix: float = 0.0,
        shots: int | None = None,
        seed: int = 0,
    ) -> Iterator[EnhancementResult | ErrorResult]:
        """One cleaned recording per input, in order. `mix`: as `Enhancer.enhance`; the rest as `classifier`."""
        enhancer = self.enhancer(demos, task, shots=shots, seed=seed)
        return _each(as_inputs(inputs), lambda source: enhancer.enhance(source, mix), source_name)

    def _task(self, task: TaskLike, kind: str) -> Task:
        found = task if isinstance(task, Task) else load_task(task)
        if found.kind != kind:
            raise UsageError(f"task {found.name}: turns {found.input} into {found.output}, which is not {kind}")
        return found

    def _selected(
        self, task: Task, demos: Demos, shots: int | None, labels: Collection[str] | None, seed: int
    ) -> list[Demonstration]:
        """The demonstrations of a folder that a session shows; a sequence is taken as it is unless `shots` is given."""
        if shots is not None and shots < 1:
            raise UsageError(f"shots must be 1 or more, not {shots}")
        if isinstance(labels, str):
            raise UsageError(f"labels must be a collection of labels, not the text {labels!r}")
        if not isinstance(demos, str | Path):
            if shots is None and labels is None:
                return list(demos)
            return select_demonstrations(self.encoder, task, demos, shots or task.shots, seed, labels)
        found = load_demonstrations(Path(demos), task.demonstration_kind)
        with self.lock:
            return select_demonstrations(self.encoder, task, found, shots or task.shots, seed, labels)


def as_inputs(inputs: AudioInput | Iterable[AudioInput]) -> Iterable[AudioInput]:
    """Inputs as an iterable; a single path, bytes, open file or (array, rate) pair is one input."""
    single = isinstance(inputs, str | Path | bytes) or hasattr(inputs, "read")
    pair = isinstance(inputs, tuple) and len(inputs) == 2 and isinstance(inputs[0], np.ndarray)
    return [inputs] if single or pair else inputs  # type: ignore[list-item, return-value]


def _each(
    items: Iterable[Item], work: Callable[[Item], Result], name: Callable[[Item], str]
) -> Iterator[Result | ErrorResult]:
    for item in items:
        try:
            yield work(item)
        except UniAudioError as problem:
            yield ErrorResult.from_exception(name(item), problem)


def load(
    model: str = DEFAULT_MODEL,
    *,
    lm: str | Path | None = None,
    codec: str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    bits: int | None = None,
    offline: bool = False,
    progress: Callable[[str], None] = lambda line: None,
) -> Kit:
    """Load a codec and a frozen LLM and check that the codec can be written in the LLM's ids.

    Args:
        model: a preset ("small", "llama2-7b", ...); `lm` and `codec` replace its parts by a preset, folder or file.
        device: "auto" takes a GPU where there is one. dtype: "auto" is bfloat16, and float32 on a CPU that does not
            compute in it; on a CPU, audio is then generated with 8-bit weights.
        bits: 4 or 8 loads the LLM quantised.

    Raises:
        UsageError: an unknown name, or an LLM this codec cannot be written for.
        MissingWeightsError: files are missing and cannot be fetched.
    """
    place = choose_device(device)
    # The cheap checks come first, so that an LLM that cannot be used is refused before its weights load.
    loaded, vocabulary = load_codec_and_vocabulary(
        model, lm=lm, codec=codec, device=place, offline=offline, progress=progress
    )
    files = registry.resolve_lm(lm or registry.resolve_model(model).lm, offline, progress)
    # Decoding on a CPU is bound by memory: a quarter of the bytes more than doubles its speed (benchmarks/lm.py).
    decode_bits = 8 if dtype == "auto" and bits is None and place == "cpu" else None
    language_model = lazy_lm(
        str(files.folder), files.name, decode_bits, device=place, dtype=choose_dtype(dtype, place), bits=bits
    )
    return Kit(
        loaded, language_model, vocabulary, CodeCache(cache_dir() / "codes", loaded), _lm_key(files, dtype, bits)
    )


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
    files = registry.resolve_lm(lm, offline, progress)

    def parts() -> tuple[LanguageModel, Tokenizer]:
        place = choose_device(device)
        loaded = load_lm(str(files.folder), files.name, device=place, dtype=choose_dtype(dtype, place), bits=bits)
        return loaded, load_tokenizer(str(files.folder))

    key = _lm_key(files, dtype, bits)
    return _zero_shot(labels, descriptions, LLMScorer(parts), key, None, abstain_below, offline, progress)


def _zero_shot(
    labels: Sequence[str],
    descriptions: Mapping[str, str] | None,
    scorer: LLMScorer,
    key: str,
    lock: threading.RLock | None,
    abstain_below: float,
    offline: bool,
    progress: Callable[[str], None],
) -> ZeroShotClassifier:
    tagger = YAMNet(registry.resolve_teacher("yamnet", offline, progress))
    # Scores of an LLM that nothing identifies are not kept.
    table = NameTable(tagger.class_names, key, scorer, cache_dir() / "names" if key else None)
    return ZeroShotClassifier(tagger, background(), LLMAffinity(table), labels, descriptions, abstain_below, lock)


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
    preset = registry.resolve_model(model)
    files = registry.resolve_codec(codec or preset.codec, offline, progress)
    loaded = load_codec(files.weights, files.config, files.words, device=device)
    lm_files = registry.resolve_lm(lm or preset.lm, offline, progress)
    tokenizer = load_tokenizer(str(lm_files.folder))
    # Codes that are ids of another LLM mean nothing to this one; the levels written in words still do.
    bare = [size for size, words in zip(loaded.config.sizes, loaded.config.words, strict=True) if words is None]
    in_words = [level for level, words in enumerate(loaded.config.words) if words is not None]
    levels = in_words if in_words and set(bare) - {tokenizer.size} else None
    return loaded, vocabulary_for(loaded.config, tokenizer, levels)


def load_spelling(config: CodecConfig, lm: str | None) -> Callable[[int, int], str]:
    """(level, code) -> what a person reads: the codec's own word, else the LLM's spelling, else the number."""
    tokens = load_tokenizer(str(registry.resolve_lm(lm).folder)).token if lm else None

    def spell(level: int, code: int) -> str:
        words = config.words[level]
        if words is not None:
            return words[code]
        return tokens(code) if tokens else str(code)

    return spell

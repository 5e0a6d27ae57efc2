"""Zero-shot classification: a clip's class posterior against what a frozen LLM expects under each label's name.

The score of a label is a sum over the tagger's classes: how far the class stands out in the clip, times how far it
speaks for the label by the LLM's log P(class | label) (`name_table`). No demonstration and no LLM pass per clip.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Protocol

import numpy as np

from uniaudio_cli.audio.io import AudioInput, as_inputs, read_audio, source_name
from uniaudio_cli.codec.frozen.levels import FrozenLevels
from uniaudio_cli.codec.frozen.tags import background, class_weights
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.core.paths import cache_dir
from uniaudio_cli.inference.name_table import PROMPTS, Array, LLMScorer, NamePrompt, NameTable
from uniaudio_cli.inference.results import ErrorResult, LabelResult
from uniaudio_cli.llm.model import LanguageModel

RATE = 16_000
LONGEST_SECONDS = 60.0
EVIDENCE_POWER = 1.5  # above 1 the classes that say most count more
# Clips that the calibration over a folder is worth as much as: few clips are calibrated little, as their mean says more
# of them than of the label. Chosen on esc10, with folders of 1 to 100 clips, even, skewed and of one label.
CALIBRATION_CLIPS = 40
SMALLEST_SPREAD = 0.05
SHARPNESS = 1.75  # of the softmax over calibrated scores; least log loss on esc10
# Labels that name nothing: class1, spk_03, type A, label-b, 17, x.
MEANINGLESS = re.compile(
    r"(?:(?:class|label|type|category|cat|kind|group|speaker|spk|id|item|sound|unknown)[\s_.-]*)?(?:\d+|[a-z])?", re.I
)


class Tagger(Protocol):
    """A frozen audio tagger, such as YAMNet."""

    @property
    def class_names(self) -> Sequence[str]: ...

    def posterior(self, wav: np.ndarray) -> np.ndarray:
        """float32 [T] at 16 kHz, of any level -> float32 [classes]."""
        ...


Affinity = Callable[[Sequence[str]], Array]
"""Texts of labels -> [labels, classes], 0 and above: how far each class speaks for each label."""


def meaningless(label: str) -> bool:
    """Whether a label's name can say nothing about sound.

    >>> [meaningless(label) for label in ("class1", "spk_03", "type A", "rain", "dog bark")]
    [True, True, True, False, False]
    """
    return MEANINGLESS.fullmatch(label.strip()) is not None


def readable(label: str) -> str:
    """A label as it stands in a prompt: "dog_bark" is "dog bark".

    >>> readable("Dog_bark")
    'Dog bark'
    """
    return re.sub(r"[\s_]+", " ", label).strip()


def evidence(logprobs: Array, power: float = EVIDENCE_POWER) -> Array:
    """[labels, classes] of log P(class | label), [prompts, labels, classes]: how far a class speaks for a label.

    Per prompt the mean over labels is taken off (classes that suit any label), then each label's mean over classes
    (labels after which any class is likelier). What is left below zero counts as zero; prompts are scaled alike and
    averaged.
    """
    above = logprobs - logprobs.mean(axis=1, keepdims=True)
    above -= above.mean(axis=2, keepdims=True)
    positive = np.maximum(above, 0) ** power
    scale = np.maximum(positive.mean(axis=(1, 2), keepdims=True), 1e-12)
    averaged: Array = (positive / scale).mean(axis=0)
    return averaged


def label_scores(weights: Array, affinity: Array) -> Array:
    """[clips, labels]: the sum over classes of weight times affinity, standardised over labels."""
    return _standardised(weights @ affinity.T, axis=1)


def calibrated(scores: Array, clips: float = CALIBRATION_CLIPS) -> Array:
    """[clips, labels]: each label's mean and spread over the folder taken off, the more the more clips there are.

    A label whose name attracts every clip loses that advantage (batch calibration, Zhou et al. 2023). The share that is
    taken off is n / (n + `clips`), so that a folder of few clips, or of one label, keeps most of its scores.
    """
    share = len(scores) / (len(scores) + clips)
    spread = np.maximum(scores.std(axis=0), SMALLEST_SPREAD)
    found: Array = (scores - share * scores.mean(axis=0)) / spread**share if len(scores) > 1 else scores
    return found


def _standardised(values: Array, axis: int) -> Array:
    centred = values - values.mean(axis=axis, keepdims=True)
    result: Array = centred / np.maximum(centred.std(axis=axis, keepdims=True), 1e-9)
    return result


def probabilities(scores: Array) -> Array:
    """Softmax over labels: [clips, labels]."""
    odds = np.exp(SHARPNESS * (scores - scores.max(axis=1, keepdims=True)))
    found: Array = odds / odds.sum(axis=1, keepdims=True)
    return found


@dataclass(frozen=True)
class LLMAffinity:
    """The affinity by an LLM's log-probabilities."""

    table: NameTable

    def __call__(self, texts: Sequence[str]) -> Array:
        return evidence(self.table.logprobs(texts))

    def with_lm(self, change: Callable[[LanguageModel], LanguageModel]) -> LLMAffinity:
        """The affinity by another LLM, made from this one's at its first use."""
        assert isinstance(self.table.scorer, LLMScorer)
        return LLMAffinity(self.table.with_scorer(self.table.scorer.replaced(change)))


def names_by_llm(frozen: FrozenLevels, scorer: LLMScorer, key: Callable[[], str]) -> Callable[[], LLMAffinity]:
    """What makes the affinity of an LLM over the classes of `frozen`'s tagger, at its first call.

    `key`: identifies the LLM and its weights; scores of an LLM that nothing identifies ("") are not kept on disk.
    """

    @cache
    def make() -> LLMAffinity:
        identity = key()
        folder = cache_dir() / "names" if identity else None
        return LLMAffinity(NameTable(frozen.tagger.class_names, identity, scorer, folder))

    return make


@dataclass(frozen=True)
class TaggedClip:
    """A clip and its class posterior, float64 [classes]."""

    file: str
    posterior: Array


class ZeroShotClassifier:
    """Labels clips by the labels' names. The LLM scores the labels with the first clip or by `prepare`.

    Scores are calibrated over the clips of one call, so a clip's label may depend on the others. Safe to share between
    threads.

    Args:
        descriptions: label -> a sentence that takes the name's place in the prompts.
        abstain_below: a clip gets no label where the likeliest has a lower probability.
        common: mean posterior of recordings at large, [classes]; that of AudioSet's classes where None.

    Raises:
        UsageError: fewer than two labels, or a description of another label.
    """

    def __init__(
        self,
        tagger: Tagger,
        affinity: Affinity,
        labels: Sequence[str],
        descriptions: Mapping[str, str] | None = None,
        abstain_below: float = 0.0,
        lock: threading.RLock | None = None,
        common: Array | None = None,
    ) -> None:
        if isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
            raise UsageError(f"labels must be a collection of labels, not {labels!r}")
        self.labels = tuple(dict.fromkeys(labels))
        if len(self.labels) < 2:
            raise UsageError("a choice takes two or more labels")
        self.descriptions = dict(descriptions or {})
        unknown = [label for label in self.descriptions if label not in self.labels]
        if unknown:
            raise UsageError(f"descriptions: {unknown[0]!r} is none of the labels {', '.join(self.labels)}")
        if not 0 <= abstain_below <= 1:
            raise UsageError(f"abstain_below must be a number from 0 to 1, not {abstain_below!r}")
        self.abstain_below = abstain_below
        self._tagger = tagger
        self._common = background() if common is None else common
        self.affinity_model = affinity
        self._lock = lock or threading.RLock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self.labels)})"

    @property
    def class_names(self) -> tuple[str, ...]:
        """The tagger's classes."""
        return tuple(self._tagger.class_names)

    def replaced(self, labels: Sequence[str], affinity: Affinity | None = None) -> ZeroShotClassifier:
        """A session of other labels, without descriptions; `affinity`: what takes the LLM's place."""
        chosen = affinity or self.affinity_model
        return ZeroShotClassifier(self._tagger, chosen, labels, None, self.abstain_below, self._lock, self._common)

    @property
    def texts(self) -> tuple[str, ...]:
        """What stands for each label in the prompts: its description, or its name."""
        return tuple(self.descriptions.get(label) or readable(label) for label in self.labels)

    @property
    def meaningless(self) -> tuple[str, ...]:
        """Labels without a description whose names can say nothing about sound."""
        return tuple(label for label in self.labels if label not in self.descriptions and meaningless(label))

    @cached_property
    def affinity(self) -> Array:
        """[labels, classes]: how far each class speaks for each label."""
        with self._lock:
            return self.affinity_model(self.texts)

    def prepare(self) -> None:
        """Score the labels now."""
        _ = self.affinity

    def __call__(self, source: AudioInput) -> LabelResult:
        """The label of one clip, not calibrated.

        Raises:
            UniAudioError: it cannot be read.
        """
        (result,) = self.classify_batch([source])
        if isinstance(result, ErrorResult):
            raise result.exception or UniAudioError(result.error)
        return result

    def classify(self, sources: Iterable[AudioInput]) -> Iterator[LabelResult | ErrorResult]:
        """One result per source, in order. All are read before the first result, as they are calibrated together."""
        yield from self.label([self.tag(source) for source in as_inputs(sources)])

    def classify_batch(self, sources: Sequence[AudioInput]) -> list[LabelResult | ErrorResult]:
        """One result per source, calibrated together; a source that fails gets an `ErrorResult`."""
        return self.label([self.tag(source) for source in as_inputs(sources)])

    def tag(self, source: AudioInput) -> TaggedClip | ErrorResult:
        """The class posterior of a clip's first minute."""
        name = source_name(source)
        try:
            wav = read_audio(source, RATE, max_seconds=LONGEST_SECONDS)[0].numpy()
            with self._lock:
                found = self._tagger.posterior(wav)
        except UniAudioError as problem:
            return ErrorResult.from_exception(name, problem)
        except ValueError as problem:
            return ErrorResult.from_exception(name, UniAudioError(f"{name}: {problem}"))
        return TaggedClip(name, found.astype(np.float64))

    def label(self, clips: Sequence[TaggedClip | ErrorResult]) -> list[LabelResult | ErrorResult]:
        """Results of clips that are tagged already, calibrated together; errors stay in their places."""
        tagged = [clip for clip in clips if isinstance(clip, TaggedClip)]
        if not tagged:
            return [clip for clip in clips if isinstance(clip, ErrorResult)]
        rows = iter(self.score(np.array([clip.posterior for clip in tagged])))
        return [clip if isinstance(clip, ErrorResult) else self._result(clip.file, next(rows)) for clip in clips]

    def score(self, posteriors: Array) -> Array:
        """Probabilities [clips, labels] of posteriors [clips, classes]."""
        weights = class_weights(posteriors, self._common)
        return probabilities(calibrated(label_scores(weights, self.affinity)))

    def _result(self, file: str, row: Array) -> LabelResult:
        return LabelResult.from_scores(file, dict(zip(self.labels, map(float, row), strict=True)), self.abstain_below)

    def render_prompt(self, prompts: Sequence[NamePrompt] = PROMPTS) -> str:
        """The prompts in which the LLM scores classes; every label's last line, the prompt before it once."""
        parts = []
        for number, prompt in enumerate(prompts, start=1):
            lines = [f"=== prompt {number}", prompt.prefix, *(f"...{prompt.continuation(each)}" for each in self.texts)]
            parts.append("\n".join(lines))
        return "\n".join(parts)

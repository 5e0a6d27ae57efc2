"""Classification: a label for each clip, from a few labelled clips."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from uniaudio_cli.audio.io import AudioInput, as_inputs, source_name
from uniaudio_cli.audio.levels import PROSODY, level_name
from uniaudio_cli.codec.frozen.units import Array
from uniaudio_cli.codec.quantizer import SIMILARITY_SCALE
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.inference.encoder import EncodedClip
from uniaudio_cli.inference.names import meaningless, readable
from uniaudio_cli.inference.open_set import UNKNOWN, OpenSet
from uniaudio_cli.inference.read_ahead import read_ahead
from uniaudio_cli.inference.results import ErrorResult, LabelResult
from uniaudio_cli.inference.scoring import LabelReadout, LikelihoodReadout, Query, Readout, TokenObservation
from uniaudio_cli.inference.session import EncodedExample, Models, Session, check_levels, growing_batches
from uniaudio_cli.inference.similarity import SimilarityReadout, joined
from uniaudio_cli.llm.ngram import NgramCache
from uniaudio_cli.prompting.context_budget import ContextBudget
from uniaudio_cli.prompting.prompt import Example, Prompt, Text, build_prompt
from uniaudio_cli.prompting.prompt import render as render_prompt
from uniaudio_cli.prompting.task import Task, override_task
from uniaudio_cli.prompting.template import load_template

# The template of a label's context under the likelihood readout: its clips and nothing else.
CONTINUATION_TEMPLATE = "continuation"


@dataclass(frozen=True)
class ReadClip:
    """A clip as the task crops it, before any model: `wav` float32 [1, T]."""

    file: str
    wav: Tensor


@dataclass(frozen=True)
class _Encoded:
    """A clip of a batch that could be read, once for each time offset."""

    file: str
    clips: Sequence[EncodedClip]


class Classifier(Session):
    """Labels clips. Demonstrations are encoded when it is made and prefilled with the first clip or by `prepare`.

    Safe to share between threads: a batch holds the models' lock.
    """

    def __init__(self, models: Models, task: Task, demonstrations: Sequence[Demonstration], seed: int = 0) -> None:
        check_levels(task, models.codec)
        if task.readout == "likelihood":
            # Levels are scored apart, so one that this LLM has no words for is left out.
            available = (PROSODY, *models.vocabulary.levels)
            usable = tuple(level for level in task.levels if level in available)
            task = override_task(task, levels=usable or task.levels)
        super().__init__(models, task, demonstrations, seed)
        self._readout: Readout | None = None
        self._prepared = False

    def _encode_examples(self) -> Iterable[EncodedExample]:
        def encode(demonstration: Demonstration) -> list[EncodedClip]:
            return self.encoder.encode_with_offsets(demonstration.audio, self.task, cached=True)

        encoded = self.encoder.first_then_side_by_side(encode, self.demonstrations)
        for demonstration, clips in zip(self.demonstrations, encoded, strict=True):
            label = Text(demonstration.label or "")
            for clip in clips:
                yield EncodedExample(Example(clip.as_audio(self.task.levels), label), clip)

    @property
    def labels(self) -> tuple[str, ...]:
        """The candidate labels, sorted."""
        return tuple(sorted({each.label for each in self.demonstrations if each.label is not None}))

    def __call__(self, source: AudioInput) -> LabelResult:
        """The label of one clip.

        Raises:
            UniAudioError: it cannot be read or does not fit the LLM's context.
        """
        (result,) = self.classify_batch([source])
        if isinstance(result, ErrorResult):
            raise result.exception or UniAudioError(result.error)
        return result

    def classify(self, sources: Iterable[AudioInput]) -> Iterator[LabelResult | ErrorResult]:
        """One result per source, in order, computed in growing batches; the next ones are read meanwhile."""
        return (result for result, _ in self.classify_timed(as_inputs(sources)))

    def classify_timed(self, sources: Iterable[AudioInput]) -> Iterator[tuple[LabelResult | ErrorResult, float]]:
        """`classify`, each result with its share of the seconds that its batch took."""
        started = time.perf_counter()
        for batch in growing_batches(read_ahead(self.read, sources)):
            results = self.classify_clips(batch)
            seconds = round((time.perf_counter() - started) / len(batch), 3)
            yield from ((result, seconds) for result in results)
            started = time.perf_counter()

    def classify_batch(self, sources: Sequence[AudioInput]) -> list[LabelResult | ErrorResult]:
        """One result per source, all scored together; a source that fails gets an `ErrorResult`."""
        return self.classify_clips([self.read(source) for source in as_inputs(sources)])

    def read(self, source: AudioInput) -> ReadClip | ErrorResult:
        """A source as `classify_clips` takes it. Needs no model and no lock."""
        name = source_name(source)
        try:
            return ReadClip(name, self.encoder.read(source, self.task.clip, audible=True))
        except UniAudioError as problem:
            return ErrorResult.from_exception(name, problem)

    def classify_clips(self, clips: Sequence[ReadClip | ErrorResult]) -> list[LabelResult | ErrorResult]:
        """`classify_batch` of sources that are read; errors stay in their places."""
        if len(clips) == 1 and not self.task.uses_lm:  # encoders and counts change nothing that threads share
            self.prepare()
            return self._labelled([self._encode(clips[0])])
        with self.models.lock:
            return self._labelled(self.encoder.side_by_side(self._encode, clips))

    def _labelled(self, encoded: Sequence[_Encoded | ErrorResult]) -> list[LabelResult | ErrorResult]:
        labelled = iter(self._label([each for each in encoded if isinstance(each, _Encoded)]))
        return [each if isinstance(each, ErrorResult) else next(labelled) for each in encoded]

    def _encode(self, clip: ReadClip | ErrorResult) -> _Encoded | ErrorResult:
        if isinstance(clip, ErrorResult):
            return clip
        try:
            return _Encoded(clip.file, self.encoder.encode_crop(clip.wav, self.task))
        except UniAudioError as problem:
            return ErrorResult.from_exception(clip.file, problem)
        except ValueError as problem:
            return ErrorResult.from_exception(clip.file, UniAudioError(f"{clip.file}: {problem}"))

    def _label(self, clips: Sequence[_Encoded]) -> list[LabelResult | ErrorResult]:
        """Results of clips scored together; where that fails, of each by itself."""
        try:
            return [*self._label_together(clips)] if clips else []
        except UniAudioError as problem:
            if len(clips) == 1:
                return [ErrorResult.from_exception(clips[0].file, problem)]
        return [result for clip in clips for result in self._label([clip])]

    def _label_together(self, clips: Sequence[_Encoded]) -> list[LabelResult]:
        scores = self.score([clip.clips for clip in clips])
        return [
            self._with_features(LabelResult.from_scores(clip.file, each, self.task.abstain_below), clip)
            for clip, each in zip(clips, scores, strict=True)
        ]

    def _with_features(self, result: LabelResult, clip: _Encoded) -> LabelResult:
        """The clip's features under the similarity readout, and whether they are near enough to the demonstrations."""
        if self.task.readout != "similarity":
            return result
        features = self.features(clip.clips[0])
        if self.open_set is None:
            return replace(result, features=features)
        similarity = self.open_set.score(features)
        label = UNKNOWN if similarity < self.open_set.threshold else result.label
        return replace(result, features=features, similarity=similarity, label=label)

    def features(self, clip: EncodedClip) -> Array:
        """What the similarity readout compares of a clip: float32 [F], of length 1."""
        readout = self.readout
        assert isinstance(readout, SimilarityReadout)
        return joined(clip.features, readout.weights).astype(np.float32)

    @cached_property
    def demonstration_features(self) -> dict[str, list[Array]]:
        """`features` of each label's demonstrations."""
        return {label: [self.features(each.clip) for each in self.examples_for(label)] for label in self.labels}

    @cached_property
    def open_set(self) -> OpenSet | None:
        """What tells clips of no label apart, where the task has `unknown_below`.

        Raises:
            UsageError: there is nothing to learn the threshold from, or a label is called "unknown".
        """
        below = self.task.unknown_below
        if below is None:
            return None
        if UNKNOWN in self.labels:
            raise UsageError(f"unknown_below: a label of the demonstrations is called {UNKNOWN!r} already")
        return OpenSet.of(self.demonstration_features, None if below == "auto" else below)

    def score(self, clips: Sequence[Sequence[EncodedClip]]) -> list[dict[str, float]]:
        """Probabilities per label of clips that are encoded already, each once for each time offset."""
        logp = self.readout([self.observe(offsets) for offsets in clips])
        return [{label: math.exp(value) for label, value in each.items()} for each in logp]

    def prepare(self) -> None:
        """Prefill the demonstrations now.

        Raises:
            UsageError: they do not fit the LLM's context.
        """
        if self._prepared:
            return
        with self.models.lock:
            _ = self.readout, self.open_set
            self._prepared = True

    @property
    def readout(self) -> Readout:
        """The task's readout with the demonstrations prefilled; `prepare` says what it raises."""
        if self._readout is None:
            for budget in self.context_budgets():
                budget.check()
            self._readout = READOUTS[self.task.readout].make(self)
        return self._readout

    def _label_readout(self) -> LabelReadout:
        prompt, continuations = self._continuations()
        return LabelReadout(self.lm, self.lm.prefill([prompt.prefix_ids(self.vocabulary)]), continuations)

    def _likelihood_readout(self) -> LikelihoodReadout:
        vocabulary, levels = self.vocabulary, self.task.levels
        # The LLM scores the coarsest level; the finer ones are left to the n-gram model.
        prompts = [self.label_context(label, levels[0]) for label in self.labels]
        context = self.lm.prefill([prompt.ids(vocabulary) for prompt in prompts])
        audio_ids = [vocabulary.audio_ids((level,)) for level in levels]
        caches = [
            [
                NgramCache([self._ids(each.clip, level) for each in self.examples_for(label)], ids)
                for label in self.labels
            ]
            for level, ids in zip(levels, audio_ids, strict=True)
        ]
        contexts = [context, *[None] * (len(caches) - 1)]
        return LikelihoodReadout(
            self.lm, contexts, caches, self.labels, audio_ids, [self._weight(level) for level in levels]
        )

    def _similarity_readout(self) -> SimilarityReadout:
        clips = {label: [each.clip.features for each in self.examples_for(label)] for label in self.labels}
        return SimilarityReadout.of(clips, self.task.levels, self.task.level_weights, self._affinity())

    def _affinity(self) -> NDArray[np.float64] | None:
        """How far each class of the tagger speaks for each label; None where names do not count or say nothing."""
        if not self.task.label_names or any(meaningless(label) for label in self.labels):
            return None
        return self.models.names()([readable(label) for label in self.labels])

    def _weight(self, level: int) -> float:
        """Weight of a level: half where it has twice the codes a second."""
        strides = self.models.codec.strides
        return 1.0 if level == PROSODY else strides[level] / strides[0]

    def _ids(self, clip: EncodedClip, level: int) -> list[int]:
        return self.vocabulary.ids([clip.level(level)], [level])

    def observe(self, clips: Sequence[EncodedClip]) -> Query:
        """What the readout scores of a clip, encoded once for each time offset."""
        return READOUTS[self.task.readout].observe(self, clips)

    def _features(self, clips: Sequence[EncodedClip]) -> Query:
        (clip,) = clips
        return clip.features

    def _prompts(self, clips: Sequence[EncodedClip]) -> Query:
        one = [self.examples[0].example]  # the query's part of the prompt depends on no demonstration
        audio = [clip.as_audio(self.task.levels) for clip in clips]
        prompts = [build_prompt(self.task, self.template, one, each, self.vocabulary) for each in audio]
        return [[TokenObservation(prompt.query_ids(self.vocabulary)) for prompt in prompts]]

    def _observations(self, clips: Sequence[EncodedClip]) -> Query:
        return [[self._observation(clip, level) for clip in clips] for level in self.task.levels]

    def _observation(self, clip: EncodedClip, level: int) -> TokenObservation:
        ids = self._ids(clip, level)
        if clip.similarity is None or level == PROSODY:
            return TokenObservation(ids)
        soft = (SIMILARITY_SCALE * clip.similarity[level].float()).log_softmax(dim=-1)
        return TokenObservation(ids, self.vocabulary.soft_logprobs(level, soft))

    def _continuations(self) -> tuple[Prompt, dict[str, list[int]]]:
        """A prompt of the label readout and the ids of every label after it."""
        prompt = self.build_query(self.examples[0].clip.as_audio(self.task.levels))
        found = {label: prompt.continuation(label, self.vocabulary) for label in self.labels}
        if any(a != b and a[: len(b)] == b for a in found.values() for b in found.values()):
            end = prompt.end_ids(self.vocabulary)
            found = {label: [*ids, *end] for label, ids in found.items()}
        return prompt, found

    def label_context(self, label: str, level: int) -> Prompt:
        """The context of a label under the likelihood readout: one level of its demonstrations and nothing else."""
        examples = [Example(each.clip.as_audio((level,)), each.example.output) for each in self.examples_for(label)]
        template = load_template(CONTINUATION_TEMPLATE)
        return build_prompt(self.task, template, examples, examples[0].input, self.vocabulary)

    def context_budgets(self) -> list[ContextBudget]:
        """What each context of the readout takes of the LLM's; the LLM's weights are not loaded for it.

        Empty where the readout has no context.
        """
        if not self.task.uses_lm:
            return []
        if self.task.readout == "label":
            prompt, continuations = self._continuations()
            return [self.budget(prompt, max(map(len, continuations.values())))]
        level = self.task.levels[0]
        longest = max(len(each.clip.level(level)) for each in self.examples)
        answer = max(map(len, self.vocabulary.code_ids(level))) * longest
        return [
            self.budget(self.label_context(label, level), answer, label, level_name(level)) for label in self.labels
        ]

    def render_prompt(self, source: AudioInput) -> str:
        """The prompt of a clip as text with token counts; under the likelihood readout, the context of every label."""
        if not self.task.uses_lm:
            raise UsageError(f"task {self.task.name}: readout {self.task.readout} makes no prompt")
        clip = self.encoder.encode_with_offsets(source, self.task)[0].as_audio(self.task.levels, self.layout)
        if self.task.readout == "label":
            return render_prompt(self.build_query(clip), self.vocabulary)
        level, words = clip.levels[0], self.vocabulary.words(clip.codes, clip.levels)[0]
        contexts = [
            f"=== {label}\n{render_prompt(self.label_context(label, level), self.vocabulary)}" for label in self.labels
        ]
        return "\n".join([*contexts, f"=== scored after each: {' '.join(words)}"])


@dataclass(frozen=True)
class _ReadoutKind:
    """How a readout is made, demonstrations included, and what it scores of a clip."""

    make: Callable[[Classifier], Readout]
    observe: Callable[[Classifier, Sequence[EncodedClip]], Query]


READOUTS: Mapping[str, _ReadoutKind] = {
    "likelihood": _ReadoutKind(Classifier._likelihood_readout, Classifier._observations),
    "label": _ReadoutKind(Classifier._label_readout, Classifier._prompts),
    "similarity": _ReadoutKind(Classifier._similarity_readout, Classifier._features),
}

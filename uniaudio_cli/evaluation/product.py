"""The product's rows: the task's classifier as it ships, and its parts: counts alone, the LLM alone, a random LLM.

Where labels' names count, the other rows give what takes the LLM's place in scoring them, all else equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from uniaudio_cli.audio.io import AudioInput
from uniaudio_cli.codec.frozen.levels import FrozenLevels
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.data.episodes import Episode, Item
from uniaudio_cli.evaluation import affinities, open_set
from uniaudio_cli.evaluation.systems import COUNTS, PRODUCT, Controls, NotApplicable, Row, Setup
from uniaudio_cli.inference.classify import Classifier
from uniaudio_cli.inference.encoder import AudioEncoder, EncodedClip
from uniaudio_cli.inference.names import LLMAffinity
from uniaudio_cli.inference.scoring import LikelihoodReadout, Query, Readout, TokenObservation
from uniaudio_cli.inference.session import Models
from uniaudio_cli.inference.similarity import SimilarityReadout
from uniaudio_cli.llm.model import LanguageModel
from uniaudio_cli.prompting.task import Task

if TYPE_CHECKING:
    from uniaudio_cli.api import Kit


class CachingEncoder(AudioEncoder):
    """An encoder that encodes each clip once for each way a task reads it, and keeps the result in memory."""

    def __init__(self, codec: Any, frozen: FrozenLevels | None = None) -> None:
        super().__init__(codec, frozen=frozen)
        self.kept: dict[Any, list[EncodedClip]] = {}

    def encode_with_offsets(self, source: AudioInput, task: Task, cached: bool = False) -> list[EncodedClip]:
        if not isinstance(source, (str, bytes)) and not hasattr(source, "as_posix"):
            return super().encode_with_offsets(source, task)
        key = (source, task.clip, task.encoded_levels, task.uses_time_offsets, task.readout == "similarity")
        if key not in self.kept:
            self.kept[key] = [_trimmed(clip, task.levels) for clip in super().encode_with_offsets(source, task)]
        return self.kept[key]


def _trimmed(clip: EncodedClip, levels: Sequence[int]) -> EncodedClip:
    """A clip without the similarities of levels that the task does not use: they are what takes memory."""
    if clip.similarity is None:
        return clip
    kept = [each if level in levels else each[:0] for level, each in enumerate(clip.similarity)]
    return replace(clip, similarity=kept)


def caching(kit: Kit) -> Models:
    """The models of a kit with a `CachingEncoder`."""
    return kit.models.with_encoder(CachingEncoder(kit.codec, kit.encoder.frozen))


def random_lm(lm: LanguageModel, seed: int = 0) -> LanguageModel:
    """An LLM of the same architecture, context and dtype with seeded random weights, never trained."""
    from transformers import AutoModelForCausalLM

    model = lm.model
    parameter = next(model.parameters())
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        twin = AutoModelForCausalLM.from_config(model.config)
    return LanguageModel(twin.to(parameter.device, parameter.dtype), f"{lm.name}, random weights")


@dataclass
class Bound:
    """The classifier of the last demonstrations, which the rows of an episode and the queries of a fold share."""

    models: Models
    task: Task
    seed: int
    last: tuple[tuple[Item, ...], Classifier] | None = field(default=None)

    def classifier(self, episode: Episode) -> Classifier:
        if self.last is None or self.last[0] != episode.demonstrations:
            shown = [Demonstration(item.path, item.label) for item in episode.demonstrations]
            self.last = episode.demonstrations, Classifier(self.models, self.task, shown, self.seed)
        return self.last[1]

    def query(self, episode: Episode) -> Query:
        classifier = self.classifier(episode)
        return classifier.observe(classifier.encoder.encode_with_offsets(episode.query.path, classifier.task))

    def readout(self, episode: Episode) -> Readout:
        return self.classifier(episode).readout


class ProductSystem:
    """The task's classifier, as `uniaudio classify` runs it."""

    name = PRODUCT
    probabilities = True

    def __init__(self, setup: Setup, bound: Bound) -> None:
        self.setup, self.bound = setup, bound

    @property
    def identity(self) -> Mapping[str, str]:
        task = self.setup.task
        lm = self.bound.models.lm.name if task.uses_lm else "none"
        named = {"names": _identity(self.bound.models)} if task.label_names else {}
        return {"task": task.name, "readout": task.readout, "lm": lm, **named}

    def predict(self, episode: Episode) -> Mapping[str, float]:
        classifier = self.bound.classifier(episode)
        # Not by the session's own call, which reads the clip anew: the encoder keeps what it has encoded.
        clips = classifier.encoder.encode_with_offsets(episode.query.path, classifier.task)
        (scores,) = classifier.score([clips])
        return scores

    def similarities(self, episode: Episode) -> tuple[float, float] | None:
        classifier = self.bound.classifier(episode)
        if classifier.task.readout != "similarity" or len(classifier.labels) < open_set.FEWEST_LABELS:
            return None
        (clip,) = classifier.encoder.encode_with_offsets(episode.query.path, classifier.task)
        shown = classifier.demonstration_features
        return open_set.similarities(shown, classifier.features(clip), episode.query.label)


class RandomLLM(ProductSystem):
    """The same classifier with the LLM's architecture and random weights."""

    name = "uniaudio, random LLM"


class Counts(ProductSystem):
    """The likelihood readout's n-gram counts without the LLM, or the similarity readout without the labels' names."""

    name = COUNTS

    @property
    def identity(self) -> Mapping[str, str]:
        return {"task": self.setup.task.name, "lm": "none"}

    def predict(self, episode: Episode) -> Mapping[str, float]:
        readout = self.bound.readout(episode)
        if isinstance(readout, SimilarityReadout):
            return _probabilities(replace(readout, names=None), self.bound.query(episode))
        assert isinstance(readout, LikelihoodReadout)
        counts = replace(readout, contexts=[None] * len(readout.contexts))
        return _probabilities(counts, self.bound.query(episode))


class NamesByMiniLM(ProductSystem):
    """The similarity readout with names by MiniLM instead of the LLM."""

    name = "uniaudio, names by MiniLM"


class NamesByOverlap(ProductSystem):
    """The similarity readout with names by the words that they share with class names."""

    name = "uniaudio, names by word overlap"


class PermutedNames(ProductSystem):
    """The similarity readout where each label has another one's name."""

    name = "uniaudio, permuted names"


class LLMAlone(ProductSystem):
    """The likelihood readout's LLM without the n-gram counts, on the level that the LLM scores."""

    name = "LLM alone"

    def predict(self, episode: Episode) -> Mapping[str, float]:
        readout = self.bound.readout(episode)
        assert isinstance(readout, LikelihoodReadout)
        scored = [place for place, context in enumerate(readout.contexts) if context is not None]
        alone = _WithoutCounts(
            readout.lm,
            [readout.contexts[place] for place in scored],
            [readout.caches[place] for place in scored],
            readout.labels,
            [readout.audio_ids[place] for place in scored],
            [readout.weights[place] for place in scored],
        )
        query = self.bound.query(episode)
        return _probabilities(alone, [query[place] for place in scored])


class RandomLLMAlone(LLMAlone):
    """`LLMAlone` with random weights."""

    name = "random LLM alone"


@dataclass(frozen=True)
class _WithoutCounts(LikelihoodReadout):
    def scores(self, level: int, observations: Sequence[TokenObservation]) -> list[torch.Tensor]:
        context = self.contexts[level]
        assert context is not None
        return self.llm_scores(context, level, observations)


def _probabilities(readout: Readout, query: Query) -> dict[str, float]:
    (logp,) = readout([query])
    return {label: math.exp(value) for label, value in logp.items()}


def _identity(models: Models) -> str:
    names = models.names()
    return names.table.identity or "random weights" if isinstance(names, LLMAffinity) else "no LLM"


def _as_it_is(setup: Setup, models: Models) -> Models:
    return models


def _random(setup: Setup, models: Models) -> Models:
    if setup.task.uses_lm:
        return models.with_lm(random_lm(models.lm, setup.seed))
    names = models.names()
    assert isinstance(names, LLMAffinity)
    twin = names.with_lm(lambda lm: random_lm(lm, setup.seed))
    return models.with_names(lambda: twin)


def _minilm(setup: Setup, models: Models) -> Models:
    found = affinities.minilm(setup, _class_names(models))
    return models.with_names(lambda: found)


def _overlap(setup: Setup, models: Models) -> Models:
    found = affinities.word_overlap(_class_names(models))
    return models.with_names(lambda: found)


def _permuted(setup: Setup, models: Models) -> Models:
    names = models.names()
    return models.with_names(lambda: lambda texts: np.roll(names(texts), 1, axis=0))


def _class_names(models: Models) -> Sequence[str]:
    assert models.encoder.frozen is not None  # else there are no names
    return models.encoder.frozen.tagger.class_names


Change = Callable[[Setup, Models], Models]


def _row(system: type[ProductSystem], controls: Controls, takes: str = "", change: Change = _as_it_is) -> Row:
    """`takes`: what the row needs of a task: "parts" of the likelihood readout, "counts", "names", or an "LLM".

    `change`: what it changes in the models; rows of one change share a classifier.
    """

    def build(setup: Setup) -> ProductSystem:
        task, likelihood = setup.task, setup.task.readout == "likelihood"
        has = {
            "": True,
            "parts": likelihood,
            "counts": likelihood or task.label_names,
            "names": task.label_names,
            "LLM": task.uses_lm or task.label_names,
        }
        if not has[takes]:
            raise NotApplicable(f"the task uses no {takes}: readout {task.readout}")
        if change not in setup.shared:
            setup.shared[change] = Bound(change(setup, setup.models), task, setup.seed)
        return system(setup, setup.shared[change])

    return Row(system.name, controls, build)


ROWS = (
    _row(ProductSystem, "fast"),
    _row(Counts, "fast", "counts"),
    _row(LLMAlone, "all", "parts"),
    _row(RandomLLM, "all", "LLM", _random),
    _row(RandomLLMAlone, "all", "parts", _random),
    _row(NamesByMiniLM, "all", "names", _minilm),
    _row(NamesByOverlap, "all", "names", _overlap),
    _row(PermutedNames, "all", "names", _permuted),
)

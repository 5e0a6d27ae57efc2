"""The product's rows: the task's classifier as it ships, and its parts: counts alone, the LLM alone, a random LLM."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from uniaudio_cli.audio.io import AudioInput
from uniaudio_cli.codec.frozen.levels import FrozenLevels
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.data.episodes import Episode, Item
from uniaudio_cli.evaluation.systems import COUNTS, PRODUCT, Controls, NotApplicable, Row, Setup
from uniaudio_cli.inference.classify import Classifier
from uniaudio_cli.inference.encoder import AudioEncoder, EncodedClip
from uniaudio_cli.inference.scoring import LikelihoodReadout, Query, Readout, TokenObservation
from uniaudio_cli.inference.session import Models
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
        key = (source, task.clip, task.levels, task.uses_time_offsets, task.readout == "similarity")
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
class _Bound:
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

    def __init__(self, setup: Setup, bound: _Bound) -> None:
        self.setup, self.bound = setup, bound

    @property
    def identity(self) -> Mapping[str, str]:
        task = self.setup.task
        lm = self.bound.models.lm.name if task.uses_lm else "none"
        return {"task": task.name, "readout": task.readout, "lm": lm}

    def predict(self, episode: Episode) -> Mapping[str, float]:
        return self.bound.classifier(episode)(episode.query.path).scores


class RandomLLM(ProductSystem):
    """The same classifier with the LLM's architecture and random weights."""

    name = "uniaudio, random LLM"


class Counts(ProductSystem):
    """The likelihood readout's n-gram counts without the LLM."""

    name = COUNTS

    @property
    def identity(self) -> Mapping[str, str]:
        return {"task": self.setup.task.name, "lm": "none"}

    def predict(self, episode: Episode) -> Mapping[str, float]:
        readout = self.bound.readout(episode)
        assert isinstance(readout, LikelihoodReadout)
        counts = replace(readout, contexts=[None] * len(readout.contexts))
        return _probabilities(counts, self.bound.query(episode))


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


def _bound(setup: Setup, random: bool = False) -> _Bound:
    """The one classifier that rows of one LLM share; the random twin is made when its first row is."""
    if random not in setup.shared:
        models = setup.models
        setup.shared[random] = _Bound(
            replace(models, lm=random_lm(models.lm, setup.seed)) if random else models, setup.task, setup.seed
        )
    return setup.shared[random]


def _row(system: type[ProductSystem], controls: Controls, random: bool = False, parts: bool = True) -> Row:
    """`parts`: the row takes the likelihood readout apart. `random`: its LLM has random weights."""

    def build(setup: Setup) -> ProductSystem:
        if parts and setup.task.readout != "likelihood":
            raise NotApplicable(f"readout {setup.task.readout} has no such part")
        if random and not setup.task.uses_lm:
            raise NotApplicable(f"readout {setup.task.readout} uses no LLM")
        return system(setup, _bound(setup, random))

    return Row(system.name, controls, build)


ROWS = (
    _row(ProductSystem, "fast", parts=False),
    _row(Counts, "fast"),
    _row(LLMAlone, "all"),
    _row(RandomLLM, "all", random=True, parts=False),
    _row(RandomLLMAlone, "all", random=True),
)

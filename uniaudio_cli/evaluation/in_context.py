"""Rows of in-context learning itself: the LLM reads the demonstrations' tags under anonymous labels, and no names.

A demonstration is one line, "type A: Dog, Bark, Animal": the classes that stand out most in the clip. After all lines
each label is read again, and what the LLM expects next is compared with the query's posterior, as in zero-shot. Labels
that name nothing leave the demonstrations as the only source, so an LLM of random weights must be at chance where the
trained one is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from string import ascii_uppercase

import numpy as np
from numpy.typing import NDArray

from uniaudio_cli.audio.levels import TAGS
from uniaudio_cli.codec.frozen.tags import background, class_weights
from uniaudio_cli.codec.frozen.units import SoftLevel
from uniaudio_cli.data.episodes import Episode, Item
from uniaudio_cli.evaluation.product import random_lm
from uniaudio_cli.evaluation.systems import Controls, NotApplicable, Row, Setup
from uniaudio_cli.inference.name_table import ClassWords
from uniaudio_cli.inference.names import LLMAffinity, evidence, label_scores, probabilities

HEADER = "Kinds of sound clips and what sounds in them.\n"


class _Tags:
    """Clips on the level `tags`, each encoded once by the setup's caching encoder."""

    def __init__(self, setup: Setup) -> None:
        self.encoder, self.task = setup.models.encoder, setup.task
        assert self.encoder.frozen is not None  # else there are no names
        self.class_names = self.encoder.frozen.tagger.class_names

    def __call__(self, item: Item) -> SoftLevel:
        """Raises UniAudioError where the clip cannot be read."""
        return self.encoder.encode_with_offsets(item.path, self.task)[0].soft[TAGS]

    def by_label(self, episode: Episode) -> list[list[SoftLevel]]:
        """The demonstrations of each of the episode's labels."""
        return [[self(item) for item in episode.demonstrations if item.label == label] for label in episode.labels]


class InContext:
    """The LLM with tags of the demonstrations in its context; the labels are "type A" and so on."""

    name = "LLM in context, labels type A to E"
    probabilities = True
    random = False

    def __init__(self, setup: Setup) -> None:
        self.setup, self.tags = setup, _Tags(setup)
        names = setup.models.names()
        assert isinstance(names, LLMAffinity)
        if self.random:
            names = names.with_lm(lambda lm: random_lm(lm, setup.seed))
        self.scorer = names.table.scorer
        self.words = ClassWords(self.tags.class_names, self.scorer.first_id)
        self._affinity = lru_cache(self._read)  # the queries of a fold share their demonstrations

    @property
    def identity(self) -> Mapping[str, str]:
        return {"tagger": "yamnet", "prompt": "tags of the demonstrations, one line each"}

    def predict(self, episode: Episode) -> Mapping[str, float]:
        names = [f"type {letter}" for letter, _ in zip(ascii_uppercase, episode.labels, strict=False)]
        affinity = self._affinity(tuple(names), self.prompt(names, self.tags.by_label(episode)))
        posterior = self.tags(episode.query).feature.astype(np.float64)
        (scores,) = probabilities(label_scores(class_weights(posterior, background())[None], affinity))
        return dict(zip(episode.labels, map(float, scores), strict=True))

    def _read(self, names: tuple[str, ...], prompt: str) -> NDArray[np.float64]:
        """How far each class speaks for each of the labels after this prompt."""
        logp = self.scorer.next_logprobs(prompt, [f"\n{name}:" for name in names], self.words.ids)
        return evidence(self.words.class_logprobs(logp)[None])

    def prompt(self, names: Sequence[str], shown: Sequence[Sequence[SoftLevel]]) -> str:
        """The demonstrations' lines: the first of each label, then the second, and so on."""
        lines = []
        for shot in range(max(map(len, shown))):
            for name, clips in zip(names, shown, strict=True):
                if shot < len(clips):
                    words = [self.tags.class_names[code].split(",")[0] for code in clips[shot].codes]
                    lines.append(f"\n{name}: {', '.join(words)}")
        return HEADER + "".join(lines)


class RandomInContext(InContext):
    """`InContext` with the LLM's architecture and random weights."""

    name = "random LLM in context, labels type A to E"
    random = True


class CountedTags:
    """The tags that `InContext` shows, counted: the share that query and demonstrations have in common."""

    name = "shown tags, counted"
    probabilities = False

    def __init__(self, setup: Setup) -> None:
        self.tags = _Tags(setup)

    @property
    def identity(self) -> Mapping[str, str]:
        return {"tagger": "yamnet"}

    def predict(self, episode: Episode) -> Mapping[str, float]:
        query = set(self.tags(episode.query).codes)
        shown = self.tags.by_label(episode)
        common = [np.mean([len(query & set(clip.codes)) for clip in clips]) for clips in shown]
        return dict(zip(episode.labels, map(float, common), strict=True))


def _row(system: type[InContext] | type[CountedTags], controls: Controls = "context") -> Row:
    def build(setup: Setup) -> InContext | CountedTags:
        if not setup.task.label_names:
            raise NotApplicable("the task uses no tags")
        return system(setup)

    return Row(system.name, controls, build)


ROWS = (_row(InContext), _row(RandomInContext), _row(CountedTags))

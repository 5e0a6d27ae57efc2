"""Rows of a zero-shot evaluation: labels by name with the LLM, and with a random LLM, MiniLM or word overlap instead.

All rows share the clips' posteriors and the way scores are made of them; only what says how far a class speaks for a
label differs. Scores are calibrated over the manifest's clips of the episode's labels, as over a user's folder of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.data.episodes import Episode, Item
from uniaudio_cli.evaluation import affinities
from uniaudio_cli.evaluation.product import random_lm
from uniaudio_cli.evaluation.systems import PRODUCT, Row, Setup
from uniaudio_cli.inference.name_table import Array
from uniaudio_cli.inference.names import Affinity, LLMAffinity, TaggedClip, ZeroShotClassifier

if TYPE_CHECKING:
    from uniaudio_cli.evaluation.job import ModelNames

# Of a cosine of sentence embeddings: sharpens it to the few nearest classes; chosen on esc10.
COSINE_POWER = 5
SHARED = "names"  # key of `Setup.shared`


@dataclass
class NameTags:
    """What the rows share: a session of the product's, and the posterior of each clip, computed once."""

    session: ZeroShotClassifier
    items: Sequence[Item]
    identity: Mapping[str, str] = field(default_factory=dict)
    posteriors: dict[Path, Array] = field(default_factory=dict)

    def posterior(self, path: Path) -> Array:
        """float64 [classes]. Raises UniAudioError where the clip cannot be read."""
        if path not in self.posteriors:
            tagged = self.session.tag(path)
            if not isinstance(tagged, TaggedClip):
                raise tagged.exception or UniAudioError(tagged.error)
            self.posteriors[path] = tagged.posterior
        return self.posteriors[path]


def name_tags(setup: Setup, names: ModelNames) -> NameTags:
    """What the rows of a zero-shot evaluation share.

    Raises:
        MissingWeightsError: the LLM or the tagger is not here.
    """
    from uniaudio_cli.api import load_zero_shot

    session = load_zero_shot(
        sorted({item.label for item in setup.items}),
        **names.zero_shot_arguments,
        progress=setup.progress,
    )
    return NameTags(session, setup.items, {"readout": "names", "tagger": "yamnet", "lm": names.zero_shot_lm})


class NamesByLLM:
    """The product's zero-shot classifier."""

    name = PRODUCT
    probabilities = True

    def __init__(self, setup: Setup) -> None:
        self.tags: NameTags = setup.shared[SHARED]
        self._folders: dict[tuple[str, ...], dict[Path, Array]] = {}

    @property
    def identity(self) -> Mapping[str, str]:
        return dict(self.tags.identity)

    def affinity(self) -> Affinity:
        """How far each class speaks for a label."""
        return self.tags.session.affinity_model

    def predict(self, episode: Episode) -> Mapping[str, float]:
        if episode.labels not in self._folders:
            self._folders[episode.labels] = self._folder(episode.labels)
        row = self._folders[episode.labels][episode.query.path]
        return dict(zip(episode.labels, map(float, row), strict=True))

    def _folder(self, labels: tuple[str, ...]) -> dict[Path, Array]:
        """Probabilities of all clips of these labels."""
        session = self.tags.session.replaced(labels, self.affinity())
        paths = [item.path for item in self.tags.items if item.label in labels]
        scores = session.score(np.array([self.tags.posterior(path) for path in paths]))
        return dict(zip(paths, scores, strict=True))


class NamesByRandomLLM(NamesByLLM):
    """The same LLM architecture with seeded random weights."""

    name = "names, random LLM"

    @cached_property
    def _random(self) -> Affinity:
        model = self.tags.session.affinity_model
        assert isinstance(model, LLMAffinity)
        return model.with_lm(random_lm)

    def affinity(self) -> Affinity:
        return self._random


class NamesByMiniLM(NamesByLLM):
    """The cosine of MiniLM's embeddings of label and class name, in the place of the LLM's log-probability."""

    name = "names, MiniLM"

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._affinity = affinities.minilm(setup, self.tags.session.class_names)

    def affinity(self) -> Affinity:
        return self._affinity


class NamesByCosine(NamesByLLM):
    """MiniLM's cosine itself, sharpened: stronger where labels are nearly class names."""

    name = "names, MiniLM cosine"

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._cosine = affinities.minilm_cosine(setup, self.tags.session.class_names)

    def affinity(self) -> Affinity:
        return lambda texts: np.maximum(self._cosine(texts), 0) ** COSINE_POWER


class NamesByOverlap(NamesByLLM):
    """Word stems that label and class name share, over all their stems."""

    name = "names, word overlap"

    def affinity(self) -> Affinity:
        return affinities.word_overlap(self.tags.session.class_names)


ROWS = (
    Row(NamesByLLM.name, "fast", NamesByLLM),
    Row(NamesByRandomLLM.name, "all", NamesByRandomLLM),
    Row(NamesByMiniLM.name, "fast", NamesByMiniLM),
    Row(NamesByCosine.name, "fast", NamesByCosine),
    Row(NamesByOverlap.name, "fast", NamesByOverlap),
)

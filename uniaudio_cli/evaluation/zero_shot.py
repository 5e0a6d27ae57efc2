"""Rows of a zero-shot evaluation: labels by name with the LLM, and with a random LLM, MiniLM or word overlap instead.

All rows share the clips' posteriors and the way scores are made of them; only what says how far a class speaks for a
label differs. Scores are calibrated over the manifest's clips of the episode's labels, as over a user's folder of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.core.quiet import quiet_transformers
from uniaudio_cli.data.episodes import Episode, Item
from uniaudio_cli.evaluation.product import random_lm
from uniaudio_cli.evaluation.systems import PRODUCT, Row, Setup
from uniaudio_cli.inference.name_table import Array, content_words
from uniaudio_cli.inference.names import Affinity, LLMAffinity, TaggedClip, ZeroShotClassifier, evidence

# Of a cosine of sentence embeddings: sharpens it to the few nearest classes; chosen on esc10.
COSINE_POWER = 5
SHARED = "names"  # key of `Setup.shared`
SUFFIXES = ("ing", "ed", "es", "s", "e", "er", "y")


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


def sentence_embedder(folder: str) -> Callable[[Sequence[str]], Array]:
    """The MiniLM in `folder`: texts in, unit vectors [N, D] out."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    with quiet_transformers():
        model = AutoModel.from_pretrained(folder, local_files_only=True).eval()

    @torch.inference_mode()
    def embed(texts: Sequence[str]) -> Array:
        inputs = tokenizer(list(texts), padding=True, return_tensors="pt")
        mask = inputs["attention_mask"][..., None]
        mean = (model(**inputs).last_hidden_state * mask).sum(1) / mask.sum(1)
        found: Array = torch.nn.functional.normalize(mean, dim=1).double().numpy()
        return found

    return embed


class NamesByMiniLM(NamesByLLM):
    """The cosine of MiniLM's embeddings of label and class name, in the place of the LLM's log-probability."""

    name = "names, MiniLM"

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        from uniaudio_cli.models.registry import resolve_teacher

        self.folder = str(resolve_teacher("minilm", setup.offline, setup.progress))

    @cached_property
    def _embed(self) -> Callable[[Sequence[str]], Array]:
        return sentence_embedder(self.folder)

    def cosine(self, texts: Sequence[str]) -> Array:
        """[texts, classes]."""
        found: Array = self._embed(texts) @ self._embed(self.tags.session.class_names).T
        return found

    def affinity(self) -> Affinity:
        return lambda texts: evidence(self.cosine(texts)[None])


class NamesByCosine(NamesByMiniLM):
    """MiniLM's cosine itself, sharpened: stronger where labels are nearly class names."""

    name = "names, MiniLM cosine"

    def affinity(self) -> Affinity:
        return lambda texts: np.maximum(self.cosine(texts), 0) ** COSINE_POWER


class NamesByOverlap(NamesByLLM):
    """Word stems that label and class name share, over all their stems."""

    name = "names, word overlap"

    def affinity(self) -> Affinity:
        names = self.tags.session.class_names
        return lambda texts: np.array([[overlap(text, name) for name in names] for text in texts])


def overlap(first: str, second: str) -> float:
    """The Jaccard index of two texts' word stems.

    >>> overlap("dog barking", "Bark")
    0.5
    """
    a, b = ({stem(word) for word in content_words(text)} for text in (first, second))
    return len(a & b) / len(a | b)


def stem(word: str) -> str:
    """A word in lower case without one common ending.

    >>> stem("Raining")
    'rain'
    """
    word = word.lower()
    for suffix in SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            return re.sub(f"{suffix}$", "", word)
    return word


ROWS = (
    Row(NamesByLLM.name, "fast", NamesByLLM),
    Row(NamesByRandomLLM.name, "all", NamesByRandomLLM),
    Row(NamesByMiniLM.name, "fast", NamesByMiniLM),
    Row(NamesByCosine.name, "fast", NamesByCosine),
    Row(NamesByOverlap.name, "fast", NamesByOverlap),
)

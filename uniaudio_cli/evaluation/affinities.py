"""What takes the LLM's place in saying how far a tagger's class speaks for a label: MiniLM, or the words they share."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from uniaudio_cli.core.quiet import quiet_transformers
from uniaudio_cli.inference.name_table import Array, content_words
from uniaudio_cli.inference.names import Affinity, evidence

if TYPE_CHECKING:
    from uniaudio_cli.evaluation.systems import Setup

SUFFIXES = ("ing", "ed", "es", "s", "e", "er", "y")


def minilm_cosine(setup: Setup, class_names: Sequence[str]) -> Affinity:
    """Texts -> the cosines of MiniLM's embeddings of text and class name, [texts, classes].

    Raises:
        MissingWeightsError: MiniLM is not here and cannot be fetched.
    """
    embed = _minilm(setup)
    classes = embed(class_names)
    return lambda texts: embed(texts) @ classes.T


def minilm(setup: Setup, class_names: Sequence[str]) -> Affinity:
    """`minilm_cosine` in the place of the LLM's log-probabilities; raises as that does."""
    cosine = minilm_cosine(setup, class_names)
    return lambda texts: evidence(cosine(texts)[None])


def _minilm(setup: Setup) -> Callable[[Sequence[str]], Array]:
    """`sentence_embedder` of MiniLM, loaded once a setup."""
    from uniaudio_cli.models.registry import resolve_teacher

    if _minilm not in setup.shared:
        setup.shared[_minilm] = sentence_embedder(str(resolve_teacher("minilm", setup.offline, setup.progress)))
    found: Callable[[Sequence[str]], Array] = setup.shared[_minilm]
    return found


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


def word_overlap(class_names: Sequence[str]) -> Affinity:
    """Texts -> the share of word stems that text and class name have in common, [texts, classes]."""
    return lambda texts: np.array([[overlap(text, name) for name in class_names] for text in texts])


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

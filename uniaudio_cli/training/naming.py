"""Words that mean: the words of a codec's level 0, exchanged for those that occur with what each code carries.

A code's words are those of the clips that hold it: of a sound, the names of the AudioSet classes that stand out in
YAMNet's posterior; of speech with a text, the text's words. Codes and words are matched at once, each word once. Codes
and sound stay as they are: a level with no more codes than the LLM's embeddings have dimensions is a linear map of any
words' embeddings.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from uniaudio_cli.audio.io import read_audio
from uniaudio_cli.codec.frozen.tags import background, class_weights
from uniaudio_cli.codec.frozen.yamnet import YAMNet
from uniaudio_cli.codec.model import Codec
from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.data.manifest import Row
from uniaudio_cli.llm.tokenizer import Tokenizer

SECONDS = 10.0  # of a clip, from its start
LETTERS = range(3, 13)
CLASSES = 5  # that stand out most in a clip; the rest of the posterior is noise
# Clips that a word is taken to have occurred in besides, as all codes do: words of few clips fit everything else.
SMOOTHING = 2.0

Array = NDArray[np.float64]


def name_level0(
    codec: Codec,
    rows: Iterable[Row],
    yamnet: YAMNet,
    tokenizers: Sequence[Tokenizer],
    suits: Callable[[str], bool] = lambda word: True,
    warn: Callable[[str], None] = lambda line: None,
) -> tuple[str, ...]:
    """A word for every code of level 0, in code order; codes that no word of the clips is left for keep theirs.

    Args:
        rows: clips; those with kind "speech" and a text give its words, others their tags.
        tokenizers: a word must be a single id in each of them.
        suits: whether a code may get a word.
        warn: called with a line for each clip that cannot be read.

    Raises:
        UniAudioError: level 0 has no words of its own, or no clip can be read.
    """
    old, *finer = codec.config.words
    if old is None:
        raise UniAudioError("level 0 has no words of its own: its codes are the LLM's ids")
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    taken = {*ENGLISH_STOP_WORDS, *(word for level in finer for word in level or ())}

    @cache  # a word comes back in many clips
    def fits(word: str) -> bool:
        whole = word.isascii() and word.isalpha() and len(word) in LETTERS and word not in taken and suits(word)
        return whole and all(len(tokenizer.word_ids(word)) == 1 for tokenizer in tokenizers)

    counts, words = co_occurrence(codec, rows, yamnet, fits, warn)
    return assign(association(counts), words, old) if words else old


def co_occurrence(
    codec: Codec, rows: Iterable[Row], yamnet: YAMNet, fits: Callable[[str], bool], warn: Callable[[str], None]
) -> tuple[Array, list[str]]:
    """How many clips hold a code and a word, each clip shared out among its codes and its words: [codes, words]."""
    class_words = [[word for word in _words(name) if fits(word)] for name in yamnet.class_names]
    size = codec.config.sizes[0]
    columns: dict[str, Array] = defaultdict(lambda: np.zeros(size))
    clips = 0
    for row in rows:
        try:
            wav = read_audio(row.path, codec.sample_rate, SECONDS)
        except UniAudioError as problem:
            warn(str(problem))
            continue
        clips += 1
        if row.kind == "speech" and row.text:
            shares = _shared(Counter(word for word in _words(row.text) if fits(word)))
        else:
            shares = _tag_words(yamnet.posterior(wav[0].numpy()), class_words)
        if shares:
            with torch.inference_mode():
                codes = codec.encode_coarsest(wav[None]).codes
            share = np.bincount(codes.flatten().numpy(), minlength=size) / codes.numel()
            for word, weight in shares.items():
                columns[word] += weight * share
    if not clips:
        raise UniAudioError("no clip could be read")
    words = sorted(columns)
    return np.array([columns[word] for word in words]).T, words


def association(counts: Array) -> Array:
    """How much more often code and word meet than by chance: P(word | code) log of its ratio to P(word), smoothed."""
    word = counts.sum(0) / counts.sum()
    smooth = (counts + SMOOTHING * word) / (counts.sum(1, keepdims=True) + SMOOTHING)
    return np.asarray(smooth * np.log(smooth / word))


def assign(scores: Array, words: Sequence[str], old: Sequence[str]) -> tuple[str, ...]:
    """One word a code, each once, with the highest sum of scores [codes, words].

    A code keeps its word of `old` rather than take one that speaks against it.
    """
    from scipy.optimize import linear_sum_assignment

    spare = [word for word in old if word not in set(words)]
    kept = np.full((len(old), len(spare)), -1e-6)
    for place, word in enumerate(spare):
        kept[old.index(word), place] = 0.0
    _, chosen = linear_sum_assignment(np.concatenate([scores, kept], axis=1), maximize=True)  # in code order
    every = [*words, *spare]
    return tuple(every[place] for place in chosen)


def _tag_words(posterior: NDArray[np.float32], class_words: Sequence[Sequence[str]]) -> Mapping[str, float]:
    weights = class_weights(posterior.astype(np.float64), background())
    found: dict[str, float] = defaultdict(float)
    for number in np.argsort(-weights, kind="stable")[:CLASSES]:
        for word in class_words[number]:
            found[word] += float(weights[number]) / len(class_words[number])
    return _shared(found)


def _shared(counts: Mapping[str, float]) -> Mapping[str, float]:
    total = sum(counts.values())
    return {word: count / total for word, count in counts.items() if count}


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())

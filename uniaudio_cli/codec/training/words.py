"""Which of the LLM's words the levels use: token texts and embeddings in, disjoint word lists and codebooks out."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from uniaudio_cli.errors import UniAudioError

# Token ids of a byte-pair vocabulary come in order of frequency: the first are glue words, the last are rare.
GLUE_WORDS = 400
COMMON_WORDS = 5_000


def candidate_words(tokens: Sequence[str], allowed: Collection[str] | None) -> list[tuple[int, str]]:
    """(id, word) of every token that is one whole lower-case word of 3 to 9 letters, most frequent first.

    `tokens`: the vocabulary's token texts with the word mark ("Ġ" or "▁") in place. `allowed`: a word list that tells
    whole words from fragments such as "govern"; None takes every token with a word mark.
    """
    found = []
    for number, token in enumerate(tokens):
        word = token[1:]
        whole = token[:1] in ("Ġ", "▁") and word.isascii() and word.isalpha() and word.islower() and 3 <= len(word) <= 9
        if whole and (allowed is None or word in allowed):
            found.append((number, word))
    return found


def standardised(embeddings: np.ndarray) -> np.ndarray:
    """Each dimension to zero mean and unit variance over all words: raw embeddings share one big common direction."""
    return (embeddings - embeddings.mean(axis=0)) / embeddings.std(axis=0)


def spread(points: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """`count` rows far from each other in cosine: farthest-point choice from a random start. int64 [count]."""
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    chosen = [int(random.integers(len(unit)))]
    closest = unit @ unit[chosen[0]]
    for _ in range(count - 1):
        closest[chosen[-1]] = np.inf
        chosen.append(int(closest.argmin()))
        closest = np.maximum(closest, unit @ unit[chosen[-1]])
    return np.array(chosen)


def choose_words(
    tokens: Sequence[str], embeddings: np.ndarray, sizes: Sequence[int], allowed: Collection[str] | None, seed: int = 0
) -> list[tuple[list[str], np.ndarray]]:
    """(words, codebook float32 [size, E]) per level, disjoint, so that a stream says its own level.

    Level 0 takes common words spread over the embedding space; the finer levels share out what is left the same way.

    Raises:
        UniAudioError: the vocabulary has too few whole words.
    """
    random = np.random.default_rng(seed)
    candidates = candidate_words(tokens, allowed)[GLUE_WORDS:]
    if len(candidates) < sum(sizes):
        raise UniAudioError(
            f"the LLM has {len(candidates)} whole words, the levels need {sum(sizes)}; choose smaller levels"
        )
    space = standardised(embeddings)
    levels, left = [], list(range(len(candidates)))
    for number, size in enumerate(sizes):
        pool = left[: max(COMMON_WORDS, size)] if number == 0 else left
        ids = np.array([candidates[index][0] for index in pool])
        picked = [pool[row] for row in np.sort(spread(space[ids], size, random))]
        levels.append(([candidates[index][1] for index in picked], space[[candidates[index][0] for index in picked]]))
        left = [index for index in left if index not in set(picked)]
    return levels

"""The vocabulary of a codec: an LLM's tokenizer and embeddings to word lists and codebooks per level.

Levels of words are disjoint, so that every word identifies its level. A level as large as the LLM's vocabulary has no
words of its own: its codes are LLM ids, as in the published codec.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np

from uniaudio_cli.core.errors import UniAudioError, UsageError, first_line
from uniaudio_cli.core.paths import atomic, show
from uniaudio_cli.llm.tokenizer import Tokenizer

# Ids of a byte-pair vocabulary are sorted by frequency: the first are function words, the last are rare.
GLUE_WORDS = 400
COMMON_WORDS = 5_000
LETTERS = range(3, 10)
# With which a blocked word is blocked too.
ENDINGS = ("", "s", "es", "d", "ed", "er", "ers", "ing", "y", "ly")

Levels = tuple[tuple[str, ...] | None, ...]


def candidate_words(tokenizer: Tokenizer, allowed: Collection[str] | None, pieces: int = 1) -> list[str]:
    """Whole lower-case words of 3 to 9 letters that are at most `pieces` ids, most frequent first.

    `allowed`: a word list, which excludes fragments such as "govern"; None takes every id that begins a word.
    """
    words = set(allowed) if allowed is not None else {tokenizer.token(id)[1:] for id in range(tokenizer.size)}
    ranks = {}
    for word in words:
        if word.isascii() and word.isalpha() and word.islower() and len(word) in LETTERS:
            ids = tokenizer.word_ids(word)
            if len(ids) <= pieces:
                ranks[word] = max(ids)  # as rare as its rarest piece
    return sorted(ranks, key=lambda word: (ranks[word], word))


def standardised(embeddings: np.ndarray) -> np.ndarray:
    """Each dimension to zero mean and unit variance over all ids; raw embeddings share one large common direction."""
    return (embeddings - embeddings.mean(axis=0)) / embeddings.std(axis=0).clip(min=1e-6)


def farthest_points(points: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Farthest-point sampling by cosine distance from a random start: row numbers, int64 [count]."""
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    chosen = [int(random.integers(len(unit)))]
    closest = unit @ unit[chosen[0]]
    for _ in range(count - 1):
        closest[chosen[-1]] = np.inf
        chosen.append(int(closest.argmin()))
        closest = np.maximum(closest, unit @ unit[chosen[-1]])
    return np.array(chosen)


def choose_words(
    tokenizer: Tokenizer,
    embeddings: np.ndarray,
    sizes: Sequence[int],
    allowed: Collection[str] | None = None,
    pieces: int = 1,
    seed: int = 0,
) -> Levels:
    """Words per level in code order; None for a level of all ids.

    Level 0 takes common words of at most `pieces` ids, by farthest-point sampling in the embedding space; the finer
    levels take the remaining words of one id in the same way.

    Raises:
        UniAudioError: the vocabulary has too few whole words.
    """
    random = np.random.default_rng(seed)
    space = standardised(embeddings)
    left = candidate_words(tokenizer, allowed, pieces)[GLUE_WORDS:]
    needed = sum(size for size in sizes if size != tokenizer.size)
    if len(left) < needed:
        raise UniAudioError(f"the LLM has {len(left)} whole words, the levels need {needed}; choose smaller levels")
    levels: list[tuple[str, ...] | None] = []
    for number, size in enumerate(sizes):
        if size == tokenizer.size:
            levels.append(None)
            continue
        pool = left[: max(COMMON_WORDS, size)] if number == 0 else [w for w in left if len(tokenizer.word_ids(w)) == 1]
        if len(pool) < size:
            raise UniAudioError(f"level {number}: {len(pool)} words are left for {size}; choose smaller levels")
        picked = farthest_points(word_vectors(pool, tokenizer, space), size, random)
        levels.append(tuple(pool[row] for row in np.sort(picked)))
        taken = {pool[row] for row in picked}
        left = [word for word in left if word not in taken]
    return tuple(levels)


def word_vectors(words: Sequence[str], tokenizer: Tokenizer, space: np.ndarray) -> np.ndarray:
    """Each word's vector [words, E]: the mean over its ids (UniAudio 1.5, section 3.1)."""
    return np.stack([space[list(tokenizer.word_ids(word))].mean(axis=0) for word in words])


def codebooks(levels: Levels, tokenizer: Tokenizer, embeddings: np.ndarray) -> list[np.ndarray]:
    """The frozen codebook of every level, float32 [size, E]: standardised embeddings, rounded to what float16 holds."""
    space = standardised(embeddings)
    each = [space[: tokenizer.size] if words is None else word_vectors(words, tokenizer, space) for words in levels]
    return [book.astype(np.float16).astype(np.float32) for book in each]


def write_vocabulary(path: Path, lm: str, levels: Levels, force: bool = False) -> None:
    """Write the levels' words as JSON, the form of `codec vocabulary build`."""
    with atomic(path, force) as temporary:
        temporary.write_text(json.dumps({"lm": lm, "levels": levels}, ensure_ascii=False, indent=1) + "\n", "utf-8")


def read_vocabulary(path: Path) -> Levels:
    """The levels' words in a JSON file.

    Raises:
        UsageError: the file cannot be read, or holds no levels of words.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["levels"]
        levels = tuple(None if words is None else tuple(words) for words in found)
        if not levels or not all(isinstance(word, str) for words in levels for word in words or ()):
            raise TypeError
    except OSError as problem:
        raise UsageError(f"{show(path)}: cannot be read ({problem.strerror})") from problem
    except (ValueError, KeyError, TypeError) as problem:
        raise UsageError(f"{show(path)}: holds no levels of words; make one with codec vocabulary build") from problem
    return levels


def read_word_list(path: Path) -> set[str]:
    """The words of a file, one a line.

    Raises:
        UsageError: the file cannot be read.
    """
    return set(_text(path).split())


def read_blocklist(path: Path) -> Callable[[str], bool]:
    """Whether a word is on a blocklist. A line: `word`, with its `ENDINGS`; `word*`, all that begins so; `=word` alone.

    Raises:
        UsageError: the file cannot be read.
    """
    exact: set[str] = set()
    starts: list[str] = []
    for line in _text(path).splitlines():
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        if entry.endswith("*"):
            starts.append(entry.strip("=*"))
        elif entry.startswith("="):
            exact.add(entry[1:])
        else:
            exact |= {entry + ending for ending in ENDINGS}
    return lambda word: word in exact or word.startswith(tuple(starts))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else first_line(problem)
        raise UsageError(f"{show(path)}: cannot be read ({reason})") from problem

"""What a frozen LLM expects under a label: log P(class | label) for the classes of an audio tagger, cached on disk.

The LLM reads every label once per prompt and never a clip. Rows are cached by LLM, prompt, label and classes, so a set
of labels seen before loads no LLM.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from uniaudio_cli.core.errors import UniAudioError
from uniaudio_cli.core.paths import atomic
from uniaudio_cli.llm.model import LanguageModel
from uniaudio_cli.llm.tokenizer import Tokenizer

Array = NDArray[np.float64]

FUNCTION_WORDS = {"and", "or", "of", "the", "a", "an", "in", "on", "for", "with", "by", "to", "etc", "other"}
LABELS_AT_ONCE = 32


@dataclass(frozen=True)
class NamePrompt:
    """A prompt that ends where the LLM names a class: `prefix`, a space and the label, `suffix`, then the class."""

    prefix: str
    suffix: str

    def continuation(self, label: str) -> str:
        return f" {label}{self.suffix}"


# The examples show the LLM what a class is, and that a label may be a place or a property. None of them is a label of
# a data set that this project reports.
FEW_SHOT = NamePrompt(
    "AudioSet labels of sound clips.\n\n"
    "Clip: horse race\nLabels: Horse, Clip-clop, Crowd, Speech\n\n"
    "Clip: boiling kettle\nLabels: Boiling, Steam, Whistle\n\n"
    "Clip: harp\nLabels: Harp, Plucked string instrument, Music\n\n"
    "Clip: motorboat\nLabels: Motorboat, Engine, Water\n\n"
    "Clip: lion\nLabels: Roar, Wild animals, Growling\n\n"
    "Clip: sewing machine\nLabels: Sewing machine, Mechanisms, Clicking\n\n"
    "Clip:",
    "\nLabels:",
)
ARROWS = NamePrompt(
    "What is heard?\n\n"
    "motorboat -> Motorboat, Engine, Water\nboiling kettle -> Boiling, Steam\n"
    "library -> Whispering, Writing, Silence\nnervous -> Gasp, Breathing\n"
    "banjo -> Banjo, Plucked string instrument\nlion -> Roar, Wild animals\nbowling -> Roll, Smash\n",
    " ->",
)
PLAIN = NamePrompt("When there is a", ", you hear")
PROMPTS = (FEW_SHOT, ARROWS, PLAIN)


class NameScorer(Protocol):
    """An LLM as a name table uses it."""

    def first_id(self, word: str) -> int:
        """The id that a word begins with in running text."""
        ...

    def next_logprobs(self, prefix: str, continuations: Sequence[str], ids: Sequence[int]) -> Array:
        """log P(id | prefix + continuation): [continuations, ids]."""
        ...


class LLMScorer:
    """A `LanguageModel` as a `NameScorer`. `load`: called once, at the first use."""

    def __init__(self, load: Callable[[], tuple[LanguageModel, Tokenizer]]) -> None:
        self._load = load

    @cached_property
    def _parts(self) -> tuple[LanguageModel, Tokenizer]:
        return self._load()

    def replaced(self, change: Callable[[LanguageModel], LanguageModel]) -> LLMScorer:
        """The scorer of another LLM with the same tokenizer, made from this one's at its first use."""
        return LLMScorer(lambda: (change(self._parts[0]), self._parts[1]))

    def first_id(self, word: str) -> int:
        return self._parts[1].word_ids(word)[0]

    def next_logprobs(self, prefix: str, continuations: Sequence[str], ids: Sequence[int]) -> Array:
        lm, tokenizer = self._parts
        texts = [tokenizer.encode(prefix + continuation) for continuation in continuations]
        # What all texts begin with is read once. It ends before each text does, so that something is left to read.
        shared = _shared([tokenizer.encode(prefix), *(text[:-1] for text in texts)])
        context = lm.prefill([[*tokenizer.start_ids, *texts[0][:shared]]])
        rows = []
        for start in range(0, len(texts), LABELS_AT_ONCE):
            part = [text[shared:] for text in texts[start : start + LABELS_AT_ONCE]]
            logp = lm.continue_with(context, part).logits.log_softmax(dim=-1)
            rows.append(logp[:, list(ids)].double().cpu().numpy())
        return np.concatenate(rows)


def _shared(texts: Sequence[Sequence[int]]) -> int:
    """How many ids all texts begin with in common."""
    count = 0
    for column in zip(*texts, strict=False):
        if len(set(column)) > 1:
            break
        count += 1
    return count


class ClassWords:
    """The ids with which an LLM begins each word of each class name, in upper or lower case."""

    def __init__(self, class_names: Sequence[str], first_id: Callable[[str], int]) -> None:
        starts = [[_starts(word, first_id) for word in content_words(name)] for name in class_names]
        self.ids = sorted({i for words in starts for word in words for i in word})
        position = {i: place for place, i in enumerate(self.ids)}
        self._words = [[[position[i] for i in word] for word in words] for words in starts]

    def class_logprobs(self, id_logprobs: Array) -> Array:
        """[labels, classes] from [labels, ids]: per class, the mean over its words of log P(word begins)."""
        columns = [
            np.mean([np.logaddexp.reduce(id_logprobs[:, word], axis=1) for word in words], axis=0)
            for words in self._words
        ]
        return np.stack(columns, axis=1)


def content_words(name: str) -> list[str]:
    """The words of a class name without function words; the name itself where none is left.

    >>> content_words("Rain on surface")
    ['Rain', 'surface']
    """
    words = [word for word in re.findall(r"[A-Za-z]+", name) if word.lower() not in FUNCTION_WORDS]
    return words or [name]


def _starts(word: str, first_id: Callable[[str], int]) -> list[int]:
    return sorted({first_id(spelling) for spelling in (word.capitalize(), word.lower())})


class NameTable:
    """log P(class | label) per prompt, from the cache folder or else from the LLM.

    Args:
        key: identifies the LLM and its weights; part of every row's name in the cache.
        scorer: used for rows that the cache lacks only. cache: None keeps nothing.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        key: str,
        scorer: NameScorer,
        cache: Path | None = None,
        prompts: Sequence[NamePrompt] = PROMPTS,
    ) -> None:
        self.prompts = tuple(prompts)
        self._class_names = tuple(class_names)
        self._key = key
        self._scorer = scorer
        self._cache = cache
        self._rows: dict[tuple[NamePrompt, str], Array] = {}

    def with_scorer(self, scorer: NameScorer) -> NameTable:
        """A table of another LLM that is kept in memory only."""
        return NameTable(self._class_names, "", scorer, None, self.prompts)

    @property
    def identity(self) -> str:
        """What identifies the LLM, or "" where nothing does."""
        return self._key

    @property
    def scorer(self) -> NameScorer:
        return self._scorer

    @cached_property
    def _words(self) -> ClassWords:
        return ClassWords(self._class_names, self._scorer.first_id)

    def logprobs(self, labels: Sequence[str]) -> Array:
        """float64 [prompts, labels, classes]."""
        return np.stack([self._of_prompt(prompt, labels) for prompt in self.prompts])

    def _of_prompt(self, prompt: NamePrompt, labels: Sequence[str]) -> Array:
        known = self._rows
        rows = {label: known.get((prompt, label)) for label in dict.fromkeys(labels)}
        rows = {label: self._read(prompt, label) if row is None else row for label, row in rows.items()}
        missing = [label for label, row in rows.items() if row is None]
        if missing:
            texts = [prompt.continuation(label) for label in missing]
            scored = self._words.class_logprobs(
                self._scorer.next_logprobs(prompt.prefix, texts, self._words.ids),
            )
            for label, row in zip(missing, scored, strict=True):
                self._keep(prompt, label, row)
                rows[label] = row
        known |= {(prompt, label): row for label, row in rows.items() if row is not None}
        return np.array([rows[label] for label in labels], dtype=np.float64)

    def _file(self, prompt: NamePrompt, label: str) -> Path | None:
        if self._cache is None:
            return None
        parts = (self._key, prompt.prefix, prompt.suffix, label, *self._class_names)
        return self._cache / f"{hashlib.sha256(chr(0).join(parts).encode('utf-8', 'replace')).hexdigest()}.npy"

    def _read(self, prompt: NamePrompt, label: str) -> Array | None:
        file = self._file(prompt, label)
        if file is None:
            return None
        try:
            row: Array = np.load(file)
        except (OSError, ValueError, EOFError):  # not there or cut short: scored again
            return None
        return row if row.shape == (len(self._class_names),) else None

    def _keep(self, prompt: NamePrompt, label: str, row: Array) -> None:
        """Write a row; a folder that cannot be written is no error."""
        if (file := self._file(prompt, label)) is None:
            return
        with suppress(OSError, UniAudioError), atomic(file, force=True) as temporary, temporary.open("wb") as out:
            np.save(out, row)

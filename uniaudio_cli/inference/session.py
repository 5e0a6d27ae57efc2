"""A task bound to loaded models and its demonstrations: what classification, speech and enhancement share."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TypeVar

from uniaudio_cli.codec.model import Codec
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.inference.answers import TextModel
from uniaudio_cli.inference.encoder import AudioEncoder, EncodedClip
from uniaudio_cli.inference.names import Affinity
from uniaudio_cli.llm.model import LanguageModel
from uniaudio_cli.prompting.context_budget import ContextBudget, context_budget
from uniaudio_cli.prompting.prompt import Example, Piece, Prompt, Text, build_prompt
from uniaudio_cli.prompting.task import Task
from uniaudio_cli.prompting.template import Template, load_template
from uniaudio_cli.prompting.vocabulary import Layout, Vocabulary

T = TypeVar("T")

MAX_BATCH = 16


def no_names() -> Affinity:
    """For models that score no names."""
    raise UsageError("these models score no names of labels; `load` gives ones that do")


class Models:
    """Everything that is loaded once.

    `lock`: re-entrant; a session holds it while it uses the models.

    Args:
        language: makes the LLM and the vocabulary, at their first use; a session may need neither.
        names: how far the tagger's classes speak for a label's name, made at its first call.
        answering: makes the LLM that answers questions in text, once; None where that is `lm`.
    """

    def __init__(
        self,
        encoder: AudioEncoder,
        language: Callable[[], tuple[LanguageModel, Vocabulary]],
        names: Callable[[], Affinity] = no_names,
        answering: Callable[[], TextModel] | None = None,
    ) -> None:
        self.encoder = encoder
        self.names = names
        self.lock = threading.RLock()
        self._language = language
        self._answering = answering

    @cached_property
    def _parts(self) -> tuple[LanguageModel, Vocabulary]:
        with self.lock:
            return self._language()

    @property
    def codec(self) -> Codec:
        return self.encoder.codec

    @property
    def lm(self) -> LanguageModel:
        return self._parts[0]

    @property
    def vocabulary(self) -> Vocabulary:
        return self._parts[1]

    @property
    def has_language(self) -> bool:
        """Whether the LLM and the vocabulary are made."""
        return "_parts" in vars(self)

    def with_encoder(self, encoder: AudioEncoder) -> Models:
        """The same models with another encoder and a lock of their own."""
        return Models(encoder, lambda: self._parts, self.names, self._answering)

    def with_lm(self, lm: LanguageModel) -> Models:
        """The same models with another LLM of the same vocabulary, and a lock of their own."""
        return Models(self.encoder, lambda: (lm, self.vocabulary), self.names, self._answering)

    def with_names(self, names: Callable[[], Affinity]) -> Models:
        """The same models with another affinity of names; they share the lock."""
        other = copy(self)
        other.names = names
        return other

    def text_model(self) -> TextModel:
        """The LLM that answers questions in text, and its tokenizer; it needs no words for the codec."""
        return (self.lm, self.vocabulary.tokenizer) if self._answering is None else self._answering()


class UsesModels:
    """The parts of `models` by their own names. Base of `Session` and of `Kit`."""

    models: Models

    @property
    def codec(self) -> Codec:
        return self.models.codec

    @property
    def lm(self) -> LanguageModel:
        return self.models.lm

    @property
    def vocabulary(self) -> Vocabulary:
        return self.models.vocabulary

    @property
    def encoder(self) -> AudioEncoder:
        return self.models.encoder

    @property
    def lock(self) -> threading.RLock:
        return self.models.lock


@dataclass(frozen=True)
class EncodedExample:
    """A demonstration as an example of the prompt, and the clip that its label, text or answer is read from."""

    example: Example
    clip: EncodedClip


class Session(UsesModels):
    """Demonstrations, encoded once, and the prompts made of them. Base of `Classifier`, `Speaker` and `Resynthesizer`.

    Raises:
        UsageError: there are no demonstrations, or the codec has no such levels.
        UniAudioError: a demonstration cannot be read.
    """

    def __init__(self, models: Models, task: Task, demonstrations: Sequence[Demonstration], seed: int = 0) -> None:
        if not demonstrations:
            raise UsageError(f"task {task.name}: needs demonstrations, and there are none; give a folder with --demos")
        check_levels(task, models.codec)
        self.models = models
        self.task = task
        self.demonstrations = tuple(demonstrations)
        self.seed = seed
        with models.lock:
            # Encoded now, so that a demonstration that cannot be read is reported once and not with every query.
            self.examples = tuple(self._encode_examples())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.task.name!r}, {len(self.demonstrations)} demonstrations)"

    def _encode_examples(self) -> Iterable[EncodedExample]:
        """Each demonstration as one or several examples, in prompt order."""
        raise NotImplementedError

    @cached_property
    def layout(self) -> Layout:
        """The layout that audio is written in."""
        return layout_of(self.task, self.vocabulary)

    @cached_property
    def template(self) -> Template:
        """The task's prompt template."""
        return load_template(self.task.template)

    def examples_for(self, group: str | None) -> list[EncodedExample]:
        """The examples of one label or text; all where None."""
        return [
            each for each in self.examples if group is None or Text(group) in (each.example.input, each.example.output)
        ]

    def build_query(self, query: Piece, examples_for: str | None = None) -> Prompt:
        """The prompt of a query, with the demonstrations of one label or text, or with all."""
        chosen = [each.example for each in self.examples_for(examples_for)]
        return build_prompt(self.task, self.template, chosen, query, self.vocabulary)

    def budget(
        self, prompt: Prompt, answer: int, examples_for: str | None = None, level: str | None = None
    ) -> ContextBudget:
        """What a prompt with the demonstrations of `examples_for` and an answer of `answer` ids take of the context."""
        encodings = len(self.examples) // len(self.demonstrations)  # one for each time offset
        seen: Counter[str] = Counter()
        shots = []
        for each in self.examples_for(examples_for):
            pieces = (each.example.input, each.example.output)
            group = next((piece.text for piece in pieces if isinstance(piece, Text)), "")
            shots.append(seen[group] // max(1, encodings))
            seen[group] += 1
        return context_budget(prompt, self.vocabulary, answer, self.lm.context_length, shots, examples_for, level)


def check_levels(task: Task, codec: Codec) -> None:
    """Raise a UsageError where the codec lacks a level of the task."""
    if max(task.levels) >= len(codec.strides):
        raise UsageError(f"level {max(task.levels)}: this codec has levels 0 to {len(codec.strides) - 1}")


def layout_of(task: Task, vocabulary: Vocabulary) -> Layout:
    """The layout a task's audio is written in: "auto" is interleaved where the codec's words allow it."""
    if task.layout == "auto":
        return "interleaved" if vocabulary.can_interleave(task.levels) else "flattened"
    return task.layout


def growing_batches(items: Iterable[T], most: int = MAX_BATCH) -> Iterator[list[T]]:
    """The items in lists of 1, 2, 4 and so on up to `most`: the first result comes soon, the last ones cheaply."""
    size, rest = 1, iter(items)
    while batch := list(islice(rest, size)):
        yield batch
        size = min(2 * size, most)

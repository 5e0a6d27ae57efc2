"""Answers in text: what a frozen LLM answers to a question, among what the demonstrations can say."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import show
from uniaudio_cli.inference.readings import Parts, Readings
from uniaudio_cli.llm.constraints import RepeatedTrie
from uniaudio_cli.llm.decoding import generate_scored
from uniaudio_cli.llm.model import LanguageModel, Prefix
from uniaudio_cli.llm.tokenizer import Tokenizer

# What worked examples answer where no demonstrated text is an answer.
NOTHING = "none"
# A question whose answer has a lower probability is refused. On the development questions (Qwen2.5-Coder-Instruct 0.5B)
# the least is .18 of 80 that have an answer, and the most .01 of 15 that have none.
REFUSED_BELOW = 0.05
# Texts that an answer may consist of, one after another.
MOST_TEXTS = 4
# Texts that a refusal names.
MOST_NAMED = 20

TextModel = tuple[LanguageModel, Tokenizer]
QaExamples = Sequence[tuple[str, Sequence[str]]]


@dataclass(frozen=True)
class TextAnswer:
    """`parts`: the demonstrations' texts that are spoken, one after another.

    `probability`: of exactly this answer, among everything that the LLM may write; 1 of a text that is read as it
    stands. `written`: what the LLM wrote, "" where it took no part.
    """

    parts: Parts
    probability: float = 1.0
    written: str = ""

    @property
    def text(self) -> str:
        return " ".join(self.parts)


class Answerer:
    """Answers questions in text with a frozen LLM, which needs no words for a codec.

    The LLM reads worked examples and the question, and writes under a grammar: figures that the demonstrations can
    say, their other texts, and several of these in a row. Greedy, so that an answer does not depend on a seed.

    Args:
        load: the LLM and its tokenizer; called once, by the first question.
        examples: questions and their accepted answers, of which the first that can be said is shown. `none` as an
            answer shows which questions have none; without such examples, every question is answered.
        refused_below: least probability of an answer.
    """

    def __init__(
        self,
        load: Callable[[], TextModel],
        readings: Readings,
        examples: QaExamples = (),
        refused_below: float = REFUSED_BELOW,
    ) -> None:
        self._load = load
        self.readings = readings
        self.examples = tuple(examples)
        self.refused_below = refused_below if any(NOTHING in answers for _, answers in self.examples) else 0.0

    @cached_property
    def _model(self) -> TextModel:
        return self._load()

    def answer(self, text: str) -> TextAnswer:
        """The reading of a text that can be read as it stands, else the LLM's answer to it.

        Raises:
            UsageError: neither can be said.
        """
        parts = self.readings.read(text)
        if parts is not None:
            return TextAnswer(parts)
        if self.readings.is_unsayable(text):
            raise self._refusal(text)
        return self._write(text)

    def prompt(self, question: str) -> str:
        """What the LLM reads before it answers."""
        return f"{self._context}{_question(question)}"

    def _write(self, question: str) -> TextAnswer:
        lm, tokenizer = self._model
        head, ids = self._ids(self._context), self._ids(self.prompt(question))
        # Ids at the seam may merge in some tokenizers: then the whole prompt is read anew.
        shared = self._context and ids[: len(head)] == head
        prefix = lm.extend(self._prefix, ids[len(head) :]) if shared else lm.prefill([ids])
        answer, score = generate_scored(lm, prefix, self._grammar)
        probability = math.exp(score)
        if probability < self.refused_below:
            raise self._refusal(question)
        written = tokenizer.decode(answer[:-1]).strip()
        parts = self.readings.read(written)
        assert parts is not None  # the grammar allows nothing else
        return TextAnswer(parts, probability, written)

    @cached_property
    def _context(self) -> str:
        pairs = [(text, text) for text in self.readings.other_texts]
        for ask, answers in self.examples:
            shown = next((each for each in answers if each == NOTHING or self.readings.read(each)), None)
            pairs += [(ask, shown)] if shown is not None else []
        return "".join(f"{_question(ask)} {answer}\n" for ask, answer in pairs)

    @cached_property
    def _prefix(self) -> Prefix:
        return self._model[0].prefill([self._ids(self._context)])

    def _ids(self, text: str) -> list[int]:
        tokenizer = self._model[1]
        return [*tokenizer.start_ids, *tokenizer.encode(text)]

    @cached_property
    def _grammar(self) -> RepeatedTrie:
        tokenizer = self._model[1]
        texts = [*self.readings.numerals, *self.readings.other_texts]
        return RepeatedTrie([tokenizer.word_ids(text) for text in texts], tokenizer.encode("a\n")[-1], MOST_TEXTS)

    def _refusal(self, text: str) -> UsageError:
        texts = self.readings.in_order
        more = f" and {len(texts) - MOST_NAMED} more" if len(texts) > MOST_NAMED else ""
        named = ", ".join(texts[:MOST_NAMED])
        return UsageError(f"{show(text)!r}: cannot be said or answered with what is demonstrated: {named}{more}")


def _question(text: str) -> str:
    return f"Question: {' '.join(text.split())}\nAnswer:"

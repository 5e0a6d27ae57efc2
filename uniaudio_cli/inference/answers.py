"""Answers in text: what a frozen LLM answers to a question, among what the demonstrations can say."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import show
from uniaudio_cli.inference.readings import Parts, Readings
from uniaudio_cli.llm.constraints import RepeatedTrie
from uniaudio_cli.llm.decoding import generate_freely, generate_scored
from uniaudio_cli.llm.model import LanguageModel, Prefix
from uniaudio_cli.llm.tokenizer import Tokenizer

# What worked examples answer where no demonstrated text is an answer.
NOTHING = "none"
# A question whose answer has a lower probability is refused. On the development questions (Qwen2.5-Coder-Instruct 0.5B)
# the least is .18 of 80 that have an answer, and the most .01 of 15 that have none.
REFUSED_BELOW = 0.05
# Texts that an answer may consist of, one after another.
MOST_TEXTS = 4
# What is worked out in a thought.
SUM = re.compile(r"\d\s*[-+*/×÷−]\s*\d")
# Ids that a thought before an answer may take.
MOST_THOUGHT = 64
# Texts that a refusal names.
MOST_NAMED = 20

TextModel = tuple[LanguageModel, Tokenizer]
QaExamples = Sequence[tuple[str, Sequence[str]]]


@dataclass(frozen=True)
class TextAnswer:
    """`parts`: the demonstrations' texts that are spoken, one after another.

    `probability`: of exactly this answer, among everything that the LLM may write; 1 of a text that is read as it
    stands. `written`: what the LLM wrote, "" where it took no part. `thought`: what it wrote before, "" without.
    """

    parts: Parts
    probability: float = 1.0
    written: str = ""
    thought: str = ""

    @property
    def text(self) -> str:
        return " ".join(self.parts)


class Answerer:
    """Answers questions in text with a frozen LLM, which needs no words for a codec.

    The LLM reads worked examples and the question, and writes under a grammar: figures that the demonstrations can
    say, their other texts, and several of these in a row. Greedy, so that an answer does not depend on a seed. It can
    write a thought before an answer that is unlikely. What it answers then follows from the thought with a probability
    near 1 even where the thought is wrong, so the probability given is the one without the thought.

    Args:
        load: the LLM and its tokenizer; called once, by the first question.
        examples: questions and their accepted answers, of which the first that can be said is shown. `none` as an
            answer shows which questions have none; without such examples, every question is answered.
        reasoning: questions with a thought and an answer each, for thinking; without any, it never thinks.
        think_below: an answer of a lower probability may be thought about.
        refused_below: least probability of an answer.
    """

    def __init__(
        self,
        load: Callable[[], TextModel],
        readings: Readings,
        examples: QaExamples = (),
        reasoning: QaExamples = (),
        think_below: float = 1.0,
        refused_below: float = REFUSED_BELOW,
    ) -> None:
        self._load = load
        self.readings = readings
        self.examples, self.reasoning = tuple(examples), tuple(reasoning)
        self.think_below = think_below
        self._prefixes: dict[str, Prefix] = {}
        self.refused_below = refused_below if any(NOTHING in answers for _, answers in self.examples) else 0.0

    @cached_property
    def _model(self) -> TextModel:
        return self._load()

    def answer(self, text: str, think: bool = True) -> TextAnswer:
        """The reading of a text that can be read as it stands, else the LLM's answer to it.

        Args:
            think: a thought comes first where `thinks_about` says so.

        Raises:
            UsageError: neither can be said.
        """
        parts = self.readings.read(text)
        if parts is not None:
            return TextAnswer(parts)
        if self.readings.is_unsayable(text):
            raise self._refusal(text)
        prefix = self._read(self._context, self.prompt(text))
        written, score = self._write(prefix)
        probability = math.exp(score)
        if probability < self.refused_below:
            raise self._refusal(text)
        thought = ""
        if think and self.thinks_about(text, probability):
            thought, written = self._think(text)
            probability = math.exp(float(self._model[0].score(prefix, [written])[0][0].sum()))
        figures = self._model[1].decode(written[:-1]).strip()
        parts = self.readings.read(figures)
        assert parts is not None  # the grammar allows nothing else
        return TextAnswer(parts, probability, figures, thought)

    def thinks_about(self, text: str, probability: float) -> bool:
        """Whether a thought comes before an answer that has this probability without it.

        It does where the question is a sum. Of unsure development questions with one, thoughts win 25 and lose 2; of
        those without a figure they win 3 and lose 12.
        """
        return bool(self.reasoning) and probability < self.think_below and SUM.search(text) is not None

    def prompt(self, question: str) -> str:
        """What the LLM reads before it answers."""
        return f"{self._context}{_question(question)}Answer:"

    def _write(self, prefix: Prefix) -> tuple[list[int], float]:
        """The ids of an answer and its log-probability."""
        return generate_scored(self._model[0], prefix, self._grammar)

    def _think(self, question: str) -> tuple[str, list[int]]:
        """A thought, and the ids of the answer after it."""
        lm, tokenizer = self._model
        context = self._reasoning_context
        prompt = f"{context}{_question(question)}Thought:"

        def ends_line(id: int) -> bool:
            return id == tokenizer.eos_id or "\n" in tokenizer.decode([id])

        ids = generate_freely(lm, self._read(context, prompt), MOST_THOUGHT, ends_line)
        thought = tokenizer.decode(ids).strip()
        return thought, self._write(self._read(context, f"{prompt} {thought}\nAnswer:"))[0]

    def _read(self, context: str, prompt: str) -> Prefix:
        """A prompt that begins with `context`, which is read once."""
        lm, tokenizer = self._model
        head, ids = ([*tokenizer.start_ids, *tokenizer.encode(text)] for text in (context, prompt))
        # Ids at the seam may merge in some tokenizers: then the whole prompt is read anew.
        if not context or ids[: len(head)] != head:
            return lm.prefill([ids])
        if context not in self._prefixes:
            self._prefixes[context] = lm.prefill([head])
        return lm.extend(self._prefixes[context], ids[len(head) :])

    @cached_property
    def _context(self) -> str:
        pairs = [(text, text) for text in self.readings.other_texts]
        for ask, answers in self.examples:
            shown = next((each for each in answers if each == NOTHING or self.readings.read(each)), None)
            pairs += [(ask, shown)] if shown is not None else []
        return "".join(f"{_question(ask)}Answer: {answer}\n" for ask, answer in pairs)

    @cached_property
    def _reasoning_context(self) -> str:
        shown = [(ask, thought, answer) for ask, (thought, answer) in self.reasoning if self.readings.read(answer)]
        return "".join(f"{_question(ask)}Thought: {thought}\nAnswer: {answer}\n" for ask, thought, answer in shown)

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
    return f"Question: {' '.join(text.split())}\n"

"""Spoken answers: a text in, audio in the demonstrations' voice out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from uniaudio_cli.codec.streaming import StreamDecoder
from uniaudio_cli.core.errors import AbstainedError, UsageError
from uniaudio_cli.core.paths import show, suggest
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.inference.answers import Answerer, TextAnswer
from uniaudio_cli.inference.generation import AudioGenerator, check_generated_levels
from uniaudio_cli.inference.readings import Readings
from uniaudio_cli.inference.results import SpeechResult
from uniaudio_cli.inference.session import EncodedExample, Models, Session
from uniaudio_cli.llm.decoding import generate_steps
from uniaudio_cli.prompting.prompt import Example, Text
from uniaudio_cli.prompting.prompt import render as render_prompt
from uniaudio_cli.prompting.task import Task

# Seconds of silence between words that are spoken one by one.
PAUSE = 0.08


class Speaker(Session):
    """Answers texts aloud. Safe to share between threads: a call holds the models' lock, a stream for each piece.

    Where the task has `qa_examples`, the answer is text first: a text that can be read as it stands, or what the
    answering LLM writes of what the demonstrations can say (`Answerer`). Then audio is generated for each text of the
    answer, with only the demonstrations of that text in the prompt. Without `qa_examples`, the LLM is given all
    demonstrations and the question, as in the paper.
    """

    def __init__(self, models: Models, task: Task, demonstrations: Sequence[Demonstration], seed: int = 0) -> None:
        check_generated_levels(task.levels)
        super().__init__(models, task, demonstrations, seed)
        self.generator = AudioGenerator(self)
        self.readings = Readings(self.texts)
        self.answerer = Answerer(
            models.text_model, self.readings, task.qa_examples, task.reasoning_examples, task.doubtful_below
        )
        self._spoken: dict[str, list[list[int]]] = {}

    def _encode_examples(self) -> Iterable[EncodedExample]:
        for demonstration in self.demonstrations:
            clip = self.encoder.encode_cached(self.encoder.read(demonstration.audio, self.task.clip))
            audio = clip.as_audio(self.task.levels, self.layout)
            yield EncodedExample(Example(Text(demonstration.text or ""), audio), clip)

    @property
    def texts(self) -> tuple[str, ...]:
        """What the demonstrations say, each text once."""
        return tuple(dict.fromkeys(each.text for each in self.demonstrations if each.text is not None))

    def __call__(self, text: str, think: bool = True) -> SpeechResult:
        """`speak`."""
        return self.speak(text, think)

    def speak(self, text: str, think: bool = True) -> SpeechResult:
        """The spoken answer to a text.

        Args:
            think: the LLM writes a thought before an answer to a sum that would not be confident without; needs the
                task's `reasoning_examples`.

        Raises:
            UsageError: the text is empty, or cannot be said or answered with what is demonstrated.
            AbstainedError: the answer is less likely than the task's `abstain_below`.
        """
        with self.models.lock:
            answer = self.plan_answer(text, think)
            if answer is None:
                (codes,) = self.generator.generate([Text(text)])
                return self._result(text, [codes])
            return self._result(text, [self._codes_of(part) for part in answer.parts], answer)

    def _result(self, text: str, codes: Sequence[list[list[int]]], answer: TextAnswer | None = None) -> SpeechResult:
        rate = self.models.codec.sample_rate
        pause = torch.zeros(1, int(PAUSE * rate))
        wavs = [wav for row in codes for wav in (pause, self.encoder.decode(row, self.seed))][1:]
        made = SpeechResult(text, "", torch.cat(wavs, dim=1), rate, codes[-1])
        if answer is None:
            return made
        confident = answer.probability >= self.task.doubtful_below
        return replace(
            made,
            answer=answer.text,
            probability=answer.probability,
            confident=confident,
            written=answer.written,
            thought=answer.thought,
        )

    def _codes_of(self, part: str) -> list[list[int]]:
        """Generated codes of one of the demonstrations' texts; made once, as they depend on nothing else."""
        if part not in self._spoken:
            (self._spoken[part],) = self.generator.generate([Text(part)], examples_for=part)
        return self._spoken[part]

    def stream(self, text: str, think: bool = True) -> Iterator[Tensor]:
        """`speak` in pieces [1, T] that can be played while the rest is generated; without the decoder's noise.

        Raises:
            UsageError: as `speak`, or the task's layout is flattened, which cannot be decoded before its end.
            AbstainedError: as `speak`.
        """
        if self.layout != "interleaved":
            raise UsageError(f"task {self.task.name}: flattened audio cannot be decoded before its end")
        with self.models.lock:
            answer = self.plan_answer(text, think)
        for number, part in enumerate((None,) if answer is None else answer.parts):
            if number:
                yield torch.zeros(1, int(PAUSE * self.models.codec.sample_rate))
            pieces = self._stream_part(Text(part or text), part)
            while True:
                with self.models.lock:
                    piece = next(pieces, None)
                if piece is None:
                    break
                yield piece

    def _stream_part(self, query: Text, examples_for: str | None) -> Iterator[Tensor]:
        generator, levels, layout = self.generator, self.task.levels, self.layout
        prefix, grammar = generator.prefill_prompts([query], None, examples_for)
        decoder = StreamDecoder(self.models.codec)
        state, ids, decoded = grammar.start(), [], 0
        ngram = generator.ngram_model(grammar, examples_for)
        for (chosen,) in generate_steps(self.lm, prefix, grammar, *generator.sampling, ngram):
            assert chosen is not None
            ids.append(chosen)
            state = grammar.advance(state, chosen)
            if state.between_groups:
                yield decoder.push(self.vocabulary.codes(ids[decoded:], None, levels, layout))
                decoded = len(ids)
        rest = ids[decoded : len(ids) - len(grammar.end)]
        codes = self.vocabulary.codes(rest, None, levels, layout) if rest else [[]] * len(levels)
        yield decoder.push(codes, last=True)

    def plan_answer(self, text: str, think: bool = True) -> TextAnswer | None:
        """The answer in text that is spoken; None leaves the answer to audio generation.

        Raises:
            UsageError, AbstainedError: as `speak`.
        """
        if not isinstance(text, str) or not text.strip():
            what = "the text is empty" if isinstance(text, str) else f"{type(text).__name__} is no text"
            raise UsageError(f"there is nothing to answer: {what}")
        if self.task.closed_vocabulary:
            parts = self.readings.read(text)
            if parts is None or len(parts) > 1:
                raise UsageError(
                    f"task {self.task.name}: no demonstration of {show(text)!r}{suggest(text, self.texts)}; it makes "
                    f"what is demonstrated, and nothing new or mixed: {', '.join(self.texts)}"
                )
            return TextAnswer(parts)
        if not self.task.qa_examples:
            return None
        answer = self.answerer.answer(text, think)
        if answer.probability < self.task.abstain_below:
            raise AbstainedError(
                f"{show(text)!r}: not answered: {answer.text!r} has probability {answer.probability:.2f}, below "
                f"{self.task.abstain_below:g}",
                answer.text,
                answer.probability,
            )
        return answer

    def render_prompt(self, text: str) -> str:
        """The prompt of a question in text, or else of the audio, with token counts."""
        parts = self.readings.read(text) if self.task.qa_examples else None
        if self.task.qa_examples and parts is None:
            return self.answerer.prompt(text)
        query = Text(parts[0]) if parts else Text(text)
        return render_prompt(self.build_query(query, parts[0] if parts else None), self.vocabulary)

"""Spoken answers: a text in, audio in the demonstrations' voice out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from uniaudio_cli.codec.streaming import StreamDecoder
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.core.paths import show, suggest
from uniaudio_cli.data.demonstrations import Demonstration
from uniaudio_cli.inference.generation import AudioGenerator, check_generated_levels
from uniaudio_cli.inference.results import SpeechResult
from uniaudio_cli.inference.session import EncodedExample, Models, Session
from uniaudio_cli.llm.decoding import generate_steps
from uniaudio_cli.llm.model import Prefix
from uniaudio_cli.prompting.prompt import Example, Text
from uniaudio_cli.prompting.prompt import render as render_prompt
from uniaudio_cli.prompting.task import Task

# Seconds of silence between words that are spoken one by one.
PAUSE = 0.08


class Speaker(Session):
    """Answers texts aloud. Safe to share between threads: a call holds the models' lock, a stream for each piece.

    By default the LLM first chooses its answer among the demonstrations' texts (`choose_answer`), then writes the audio
    with only the demonstrations of that text in its prompt. Without (`think=False`), it is given all demonstrations and
    the text, as in the paper.
    """

    def __init__(self, models: Models, task: Task, demonstrations: Sequence[Demonstration], seed: int = 0) -> None:
        check_generated_levels(task.levels)
        super().__init__(models, task, demonstrations, seed)
        self.generator = AudioGenerator(self)
        self._qa_prefix: tuple[str, Prefix] | None = None

    def _encode_examples(self) -> Iterable[EncodedExample]:
        for demonstration in self.demonstrations:
            clip = self.encoder.encode_cached(self.encoder.read(demonstration.audio, self.task.clip))
            audio = clip.as_audio(self.task.levels, self.layout)
            yield EncodedExample(Example(Text(demonstration.text or ""), audio), clip)

    @property
    def texts(self) -> tuple[str, ...]:
        """What the demonstrations say, each text once."""
        return tuple(dict.fromkeys(each.text for each in self.demonstrations if each.text is not None))

    def __call__(self, text: str, think: bool | None = None) -> SpeechResult:
        """`speak`."""
        return self.speak(text, think)

    def speak(self, text: str, think: bool | None = None) -> SpeechResult:
        """The spoken answer to a text.

        Args:
            think: choose the answer as text first; None does so where the task has `qa_examples`. A text made of the
                demonstrations' texts is then spoken as it stands, one after another.

        Raises:
            UsageError: the text is empty, or the task has a closed vocabulary and no demonstration of it.
        """
        with self.models.lock:
            parts = self.plan_answer(text, think)
            codes = [self.generator.generate([Text(part or text)], examples_for=part)[0] for part in parts]
            rate = self.models.codec.sample_rate
            pause = torch.zeros(1, int(PAUSE * rate))
            wavs = [wav for row in codes for wav in (pause, self.encoder.decode(row, self.seed))][1:]
        return SpeechResult(text, " ".join(part or "" for part in parts), torch.cat(wavs, dim=1), rate, codes[-1])

    def stream(self, text: str, think: bool | None = None) -> Iterator[Tensor]:
        """`speak` in pieces [1, T] that can be played while the rest is generated; without the decoder's noise.

        Raises:
            UsageError: as `speak`, or the task's layout is flattened, which cannot be decoded before its end.
        """
        if self.layout != "interleaved":
            raise UsageError(f"task {self.task.name}: flattened audio cannot be decoded before its end")
        with self.models.lock:
            parts = self.plan_answer(text, think)
        for number, part in enumerate(parts):
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

    def plan_answer(self, text: str, think: bool | None = None) -> Sequence[str | None]:
        """The demonstrations' texts that are spoken in answer to `text`; None leaves the answer to audio generation."""
        think = bool(self.task.qa_examples) if think is None else think
        if not text.strip():
            raise UsageError("there is nothing to answer: the text is empty")
        if text in self.texts and (think or self.task.closed_vocabulary):
            return [text]
        if self.task.closed_vocabulary:
            raise UsageError(
                f"task {self.task.name}: no demonstration of {show(text)!r}{suggest(text, self.texts)}; it makes "
                f"what is demonstrated, and nothing new or mixed: {', '.join(self.texts)}"
            )
        if not think:
            return [None]
        words = text.split()
        return words if set(words) <= set(self.texts) else [self.choose_answer(text)]

    def choose_answer(self, text: str) -> str:
        """The demonstrations' text that the LLM finds likeliest as an answer, after the task's worked examples.

        A text that a demonstration has is its own answer.
        """
        texts = self.texts
        if text in texts:
            return text
        if self._qa_prefix is None:
            self._qa_prefix = self._prefill_qa_examples()
        context, prefix = self._qa_prefix
        question = f"{context}Question: {text}\nAnswer:"
        encode = self.vocabulary.tokenizer.encode
        head, ids = encode(context), encode(question)
        # Encoded after "Answer:": SentencePiece adds a space to a text by itself.
        answers = [encode(f"{question} {candidate}\n")[len(ids) :] for candidate in texts]
        shared = ids[: len(head)] == head
        prefix = self.lm.extend(prefix, ids[len(head) :]) if shared else self.lm.prefill([ids])
        scores = self.lm.score(prefix, answers)[0]
        return texts[max(range(len(texts)), key=lambda index: float(scores[index].sum()))]

    def _prefill_qa_examples(self) -> tuple[str, Prefix]:
        """The context of a question: the demonstrations' texts and the task's question-answer examples."""
        pairs = [(text, text) for text in self.texts]
        pairs += [(ask, a) for ask, answers in dict(self.task.qa_examples).items() for a in answers if a in self.texts]
        context = "".join(f"Question: {ask}\nAnswer: {answer}\n" for ask, answer in pairs)
        return context, self.lm.prefill([self.vocabulary.tokenizer.encode(context)])

    def render_prompt(self, text: str) -> str:
        """The prompt of a text with token counts."""
        return render_prompt(self.build_query(Text(text)), self.vocabulary)

"""Audio generation: prompts prefilled, audio tokens generated under a grammar, and read back as codes."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.llm.constraints import GRAMMARS, AudioGrammar
from uniaudio_cli.llm.decoding import generate
from uniaudio_cli.llm.model import Prefix
from uniaudio_cli.llm.ngram import NgramCache
from uniaudio_cli.prompting.prompt import Audio, Piece

if TYPE_CHECKING:
    from uniaudio_cli.inference.session import Session

# Queries generated in one batch: every step moves the LLM's weights once for all of them.
MAX_ROWS = 8


class AudioGenerator:
    """Generates audio codes after the prompts of a session whose task writes audio."""

    def __init__(self, session: Session) -> None:
        self.session = session
        # Prefilled demonstrations by whose they are (None: all of them).
        self._prefixes: dict[str | None, Prefix] = {}

    @property
    def sampling(self) -> tuple[float, int, float]:
        """Temperature, seed and top_p, as `llm.decoding.generate` takes them."""
        settings = self.session.task.generation
        return settings.temperature, self.session.seed, settings.top_p

    def generate(
        self, queries: Sequence[Piece], samples: int | None = None, examples_for: str | None = None
    ) -> list[list[list[int]]]:
        """Codes per level for every query: generated levels from the LLM, passthrough levels from the query.

        Args:
            samples: length of the audio at the codec's rate; None takes the demonstrations' lengths.
            examples_for: only the demonstrations of this text enter the prompt.
        """
        found = []
        for start in range(0, len(queries), MAX_ROWS):
            prefix, grammar = self.prefill_prompts(queries[start : start + MAX_ROWS], samples, examples_for)
            ngram = self.ngram_model(grammar, examples_for)
            rows = generate(self.session.lm, prefix, grammar, *self.sampling, ngram)
            for query, row in zip(queries[start:], rows, strict=False):
                generated = self.read_codes(row, grammar)
                kept = query.codes[len(generated) :] if isinstance(query, Audio) else ()
                found.append([*generated, *map(list, kept)])
        return found

    def prefill_prompts(
        self, queries: Sequence[Piece], samples: int | None = None, examples_for: str | None = None
    ) -> tuple[Prefix, AudioGrammar]:
        """The prompts of all queries, prefilled, and the grammar of what may follow any of them.

        Raises:
            UsageError: a prompt and its answer do not fit the LLM's context.
        """
        session, vocabulary = self.session, self.session.vocabulary
        levels, codec = session.task.generated_levels, session.models.codec
        prompts = [session.build_query(query, examples_for) for query in queries]
        least, most = self.length_bounds(samples, examples_for)
        strides = [codec.strides[level] for level in levels]
        codes = [vocabulary.code_ids(level) for level in levels]
        grammar = GRAMMARS[session.layout](codes, strides, least, most, prompts[0].end_ids(vocabulary)[:1])
        width = max(len(ids) for level in codes for ids in level)
        answer = 1 + width * sum(most * strides[0] // stride for stride in strides)
        for prompt in prompts:
            session.budget(prompt, answer, examples_for).check()
        if examples_for not in self._prefixes:
            self._prefixes[examples_for] = session.lm.prefill([prompts[0].prefix_ids(vocabulary)])
        rows = [prompt.query_ids(vocabulary) for prompt in prompts]
        return session.lm.continue_with(self._prefixes[examples_for], rows), grammar

    def length_bounds(self, samples: int | None, examples_for: str | None) -> tuple[int, int]:
        """Least and most codes of the coarsest level in an answer."""
        session, codec = self.session, self.session.models.codec
        level, settings = session.task.levels[0], session.task.generation
        stride = codec.strides[level]
        if samples is not None:
            count = codec.frames(samples) // stride
            return count, count
        counts = [len(each.clip.codes[level]) for each in session.examples_for(examples_for)]
        # Codes come in whole groups (two level-0 codes in the published codec, for its attention window).
        group = codec.frame_multiple // stride
        seconds_per_group = codec.frame_multiple * codec.hop_length / codec.sample_rate
        most = max(1, int(settings.max_seconds / seconds_per_group)) * group
        # The grammar cannot express a free length in groups.
        if group > 1 or not (session.vocabulary.disjoint or session.layout == "interleaved"):
            middle = min(statistics.median_low(counts), most)
            return middle, middle
        least, longest = (min(counts), max(counts)) if settings.length == "demonstrations" else (1, most)
        return min(least, most), min(longest, most)

    def ngram_model(self, grammar: AudioGrammar, examples_for: str | None) -> NgramCache | None:
        """An n-gram model of what the demonstrations in the prompt say; None where the task uses none."""
        session, vocabulary = self.session, self.session.vocabulary
        order, levels = session.task.generation.ngram_order, session.task.generated_levels
        if not order:
            return None
        rows = [[each.clip.codes[level] for level in levels] for each in session.examples_for(examples_for)]
        clips = [[*vocabulary.ids(codes, levels, session.layout), *grammar.end] for codes in rows]
        return NgramCache(clips, sorted({*vocabulary.audio_ids(levels), *grammar.end}), order=order)

    def read_codes(self, ids: Sequence[int], grammar: AudioGrammar) -> list[list[int]]:
        """Generated ids, end marker included -> codes per generated level."""
        session = self.session
        stride = session.models.codec.strides[session.task.levels[0]]
        frames = grammar.most * stride if grammar.least == grammar.most else None
        body = ids[: len(ids) - len(grammar.end)]
        return session.vocabulary.codes(body, frames, session.task.generated_levels, session.layout)


def check_generated_levels(levels: Sequence[int]) -> None:
    """Raise a UsageError where audio cannot be generated on `levels`."""
    if tuple(levels) != tuple(range(len(levels))):
        raise UsageError(f"levels {list(levels)}: audio is made from level 0 up, with none left out")

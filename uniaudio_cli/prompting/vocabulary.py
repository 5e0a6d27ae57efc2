"""Vocabulary: codec codes to words to LLM token ids and back, checked to be invertible when it is made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from uniaudio_cli.audio import prosody
from uniaudio_cli.audio.levels import PROSODY, level_name
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.llm.tokenizer import Tokenizer
from uniaudio_cli.prompting.word_table import LevelTable, token_table, word_table

if TYPE_CHECKING:
    from torch import Tensor

    from uniaudio_cli.codec.config import CodecConfig


# "flattened": all codes of the first level, then all of the next. "interleaved": frame by frame.
Layout = Literal["flattened", "interleaved"]


class InvalidCodesError(UniAudioError, ValueError):
    """Codes or ids that are no audio in this vocabulary."""


class Vocabulary:
    """The map between a codec's codes and an LLM's token ids.

    Two layouts (the published scripts use the first). "flattened": all codes of the first level, then all of the
    next; with strides (4, 2, 1), 8 frames of levels (0, 1) are 2 + 4 codes. "interleaved": each code of the first level
    followed by the other levels' codes of its frames, here 1 + 2 and 1 + 2, so that audio can be decoded while it is
    generated.

    Args:
        words: `words[k]`, level k's words in code order, each written as the ids it has in running text (one or
            several); None where a code is an LLM id. Of a word listed twice, the first code is read.
        sizes: codes per level.
        strides: latent frames per code, per level.
        tokenizer: the LLM's.
        llm: name of the LLM that the codec is made for, for error messages.
        levels: the levels to build, all where None. Words are text to any LLM, so level 0 works with an LLM that the
            other levels' ids do not belong to. The level `PROSODY` is always there.

    Raises:
        UsageError: the map cannot be inverted (two words have the same ids, ids do not spell their word, or a word
            followed by another can be mistaken for a longer one), or the LLM has another number of ids.
    """

    def __init__(
        self,
        words: Sequence[Sequence[str] | None],
        sizes: Sequence[int],
        strides: Sequence[int],
        tokenizer: Tokenizer,
        llm: str = "",
        levels: Sequence[int] | None = None,
    ) -> None:
        self.sizes = tuple(sizes)
        self.strides = tuple(strides)
        self.tokenizer = tokenizer
        if not len(words) == len(self.sizes) == len(self.strides) > 0:
            raise ValueError(f"{len(words)} levels, {len(self.sizes)} sizes and {len(self.strides)} strides")
        self.levels: tuple[int, ...] = tuple(range(len(self.sizes)))
        self.levels = self._selected(levels)
        self._tables = {
            k: token_table(k, self.sizes[k], tokenizer, llm)
            if (level_words := words[k]) is None
            else word_table(k, level_words, self.sizes[k], tokenizer, llm)
            for k in self.levels
        }
        self._check_ends()
        self._llm = llm
        self.disjoint = self._disjoint(self.levels)

    @cached_property
    def _prosody(self) -> LevelTable:
        return word_table(PROSODY, prosody.WORDS, len(prosody.WORDS), self.tokenizer, self._llm)

    def _table(self, level: int) -> LevelTable:
        return self._prosody if level == PROSODY else self._tables[level]

    def word(self, level: int, code: int) -> str:
        """The word of a code; the LLM's spelling of the id where codes are ids."""
        return self._table(level).words[code]

    def words(self, codes: Sequence[Iterable[int]], levels: Sequence[int] | None = None) -> list[list[str]]:
        """Codes per level [T_k] -> words per level, in the same shape."""
        selected = self._selected(levels)
        return [[self.word(k, c) for c in row] for k, row in zip(selected, self.checked(codes, selected), strict=True)]

    def code_ids(self, level: int) -> list[tuple[int, ...]]:
        """The ids of every code of a level, in code order."""
        return list(self._table(level).ids)

    def audio_ids(self, levels: Sequence[int]) -> list[int]:
        """Every id that audio of these levels can have, sorted."""
        return sorted({id for level in levels for ids in self.code_ids(level) for id in ids})

    def soft_logprobs(self, level: int, logp: Tensor) -> Tensor | None:
        """Log-probabilities of a level's codes [T, K] -> of the ids in `audio_ids((level,))` [T, A].

        None where a word of the level can be several ids.
        """
        import torch

        ids = self.code_ids(level)
        if any(len(each) > 1 for each in ids):
            return None
        place = {id: number for number, id in enumerate(self.audio_ids((level,)))}
        column = torch.tensor([place[id] for (id,) in ids], device=logp.device)
        return torch.zeros(len(logp), len(place)).to(logp).index_add_(1, column, logp.exp()).log()

    def counts(self, frames: int, levels: Sequence[int] | None = None) -> list[int]:
        """Codes per level in `frames` latent frames; 8 frames at strides (4, 2, 1) are [2, 4, 8].

        Raises:
            InvalidCodesError: a level's stride does not divide `frames`, or there are none.
        """
        strides = [self.strides[k] for k in self._selected(levels)]
        if frames <= 0 or any(frames % stride for stride in strides):
            raise InvalidCodesError(f"{frames} frames are no whole number of codes at strides {tuple(strides)}")
        return [frames // stride for stride in strides]

    def checked(self, codes: Sequence[Iterable[int]], levels: Sequence[int] | None = None) -> list[list[int]]:
        """Codes per level [T_k] (lists, arrays or tensors) as lists of int.

        Raises:
            InvalidCodesError: not one row per level, rows whose lengths do not fit the strides, or a code outside its
                level.
        """
        selected = self._selected(levels)
        rows = [_ints(row) for row in codes]
        if len(rows) != len(selected):
            raise InvalidCodesError(f"{len(rows)} rows of codes were given for levels {selected}")
        codec_rows = [(k, row) for k, row in zip(selected, rows, strict=True) if k != PROSODY]
        if 0 in map(len, rows) or len({len(row) * self.strides[k] for k, row in codec_rows}) > 1:
            strides = tuple(self.strides[k] for k, _ in codec_rows)
            raise InvalidCodesError(f"levels of {[len(row) for row in rows]} codes do not fit the strides {strides}")
        for k, row in zip(selected, rows, strict=True):
            size = len(self._table(k).words)
            if min(row) < 0 or max(row) >= size:
                raise InvalidCodesError(f"{_level_names([k])} has codes 0 to {size - 1}, not {min(row)} to {max(row)}")
        return rows

    def ids(
        self, codes: Sequence[Iterable[int]], levels: Sequence[int] | None = None, layout: Layout = "flattened"
    ) -> list[int]:
        """Codes per level [T_k] (of all levels where `levels` is None) -> ids [N].

        Raises:
            InvalidCodesError: as `checked`.
            UsageError: these levels cannot be interleaved.
        """
        selected = self._selected(levels)
        rows = self.checked(codes, selected)
        if layout == "interleaved":
            counts = self._per_group(selected)
            groups = range(len(rows[0]))
            chunks = [
                (k, row[g * n : (g + 1) * n]) for g in groups for k, n, row in zip(selected, counts, rows, strict=True)
            ]
        else:
            chunks = list(zip(selected, rows, strict=True))
        return [id for k, row in chunks for code in row for id in self._table(k).ids[code]]

    def can_interleave(self, levels: Sequence[int] | None = None) -> bool:
        """Whether these levels can be read back from the interleaved layout."""
        return not self._ambiguous(self._selected(levels))

    def _ambiguous(self, selected: Sequence[int]) -> list[int]:
        """Ids that are ambiguous where levels are interleaved: they end a longer word of one level and begin one of
        another. The last level of a group is followed by the first of the next, so any two levels can be adjacent."""
        tables = [self._tables[k] for k in selected]
        return sorted({id for a in tables for b in tables if a is not b for id in a.continues & b.first})

    def _per_group(self, selected: Sequence[int]) -> list[int]:
        """Codes of each level in one group of the interleaved layout. Raises UsageError as `ids`."""
        if shared := self._ambiguous(selected):
            raise UsageError(
                f"{_level_names(selected)} cannot be interleaved: {self.tokenizer.token(shared[0])!r} both ends a "
                f"longer word of one level and begins a word of another; use layout flattened"
            )
        return [self.strides[selected[0]] // self.strides[k] for k in selected]

    def codes(
        self,
        ids: Sequence[int],
        frames: int | None = None,
        levels: Sequence[int] | None = None,
        layout: Layout = "flattened",
    ) -> list[list[int]]:
        """Ids [N] -> codes per level [T_k], the inverse of `ids`.

        `frames`: number of latent frames, from which the number of codes per level follows. Without it, flattened ids
        can only be read where there is one level or the levels share no ids (`disjoint`).

        Raises:
            InvalidCodesError: the ids are not the whole of such an audio.
        """
        selected, ids = self._selected(levels), _ints(ids)
        if layout == "interleaved":
            return self._read_interleaved(ids, frames, selected)
        if frames is None and len(selected) > 1 and not self._disjoint(selected):
            raise InvalidCodesError(f"levels {selected} share ids and can only be read with a number of frames")
        counts = [None] * len(selected) if frames is None else self.counts(frames, selected)
        rows: list[list[int]] = []
        start = 0
        for place, (k, count) in enumerate(zip(selected, counts, strict=True)):
            stop = len(ids) if frames is None else len(ids) - self._known_tail(frames, selected[place + 1 :])
            row, start = self._read_level(ids, start, stop, k, count)
            rows.append(row)
        if start < len(ids):
            raise InvalidCodesError(f"{self._where(ids, start)} is not of {_level_names(selected)}, or one too many")
        return self.checked(rows, selected)

    def _read_interleaved(self, ids: Sequence[int], frames: int | None, selected: Sequence[int]) -> list[list[int]]:
        counts = self._per_group(selected)
        rows: list[list[int]] = [[] for _ in selected]
        start = 0
        while start < len(ids):
            for row, k, count in zip(rows, selected, counts, strict=True):
                more, start = self._read_level(ids, start, len(ids), k, count)
                row += more
        found = self.checked(rows, selected)
        if frames is not None and [*map(len, found)] != self.counts(frames, selected):
            raise InvalidCodesError(f"{len(ids)} ids are {len(found[0])} interleaved groups, not {frames} frames")
        return found

    def _read_level(
        self, ids: Sequence[int], start: int, stop: int, level: int, count: int | None
    ) -> tuple[list[int], int]:
        """`count` codes of one level (as many as there are where None) from `ids[start:stop]`; and where they end."""
        table = self._tables[level]
        row: list[int] = []
        while len(row) != count and start < stop:
            if count is None and ids[start] not in table.first:
                break
            # The longest match is right: a shorter word is its beginning only where no word starts with the rest.
            for length in range(min(table.longest, stop - start), 0, -1):
                code = table.code.get(tuple(ids[start : start + length]))
                if code is not None:
                    break
            else:
                raise InvalidCodesError(f"{self._where(ids, start)} begins no word of level {level}")
            row.append(code)
            start += length
        if count is not None and len(row) < count:
            raise InvalidCodesError(f"{len(ids)} ids are too few: level {level} has {len(row)} of its {count} codes")
        return row, start

    def _known_tail(self, frames: int, levels: Sequence[int]) -> int:
        """How many ids the last `levels` take up, where that does not depend on their codes; else 0."""
        widths = [self._tables[k].width or 0 for k in levels]
        if not levels or 0 in widths:
            return 0
        return sum(width * count for width, count in zip(widths, self.counts(frames, levels), strict=True))

    def _selected(self, levels: Sequence[int] | None) -> tuple[int, ...]:
        if levels is None:
            return self.levels
        selected = tuple(levels)
        if not selected or list(selected) != sorted(set(selected)) or not set(selected) <= {PROSODY, *self.levels}:
            raise UsageError(f"levels {list(selected)}: choose from {list(self.levels)}, each once, coarsest first")
        return selected

    def _disjoint(self, levels: Iterable[int]) -> bool:
        tables = [self._tables[k] for k in levels]
        firsts = [id for table in tables for id in table.first]
        runs_on = any(a.continues & b.first for a in tables for b in tables if a is not b)
        return len(firsts) == len(set(firsts)) and not runs_on

    def _check_ends(self) -> None:
        """Refuse levels whose last word may be continued by the next level's first id."""
        for k, table in self._tables.items():
            later = [self._tables[j] for j in self.levels if j > k]
            shared = sorted(table.continues & {id for other in later for id in other.first})
            if shared and not all(other.width for other in later):
                raise UsageError(
                    f"the end of level {k} could not be found: {self.tokenizer.token(shared[0])!r} both ends a longer "
                    f"word of it and begins a word of a later level; leave out one of these words"
                )

    def _where(self, ids: Sequence[int], position: int) -> str:
        id = ids[position]
        spelling = f" ({self.tokenizer.token(id)!r})" if 0 <= id < self.tokenizer.size else ""
        return f"id {id}{spelling} at position {position + 1} of {len(ids)}"


def _ints(row: Any) -> list[int]:
    return [int(code) for code in (row.tolist() if hasattr(row, "tolist") else row)]


def _level_names(levels: Sequence[int]) -> str:
    return level_name(levels[0]) if len(levels) == 1 else f"levels {', '.join(map(str, levels))}"


def vocabulary_for(config: CodecConfig, tokenizer: Tokenizer, levels: Sequence[int] | None = None) -> Vocabulary:
    """The vocabulary of a codec with an LLM; `levels`: those that will be used, all where None.

    Raises:
        UsageError: the codec's words cannot be written in this LLM's ids.
    """
    return Vocabulary(config.words, config.sizes, config.strides, tokenizer, config.llm, levels)

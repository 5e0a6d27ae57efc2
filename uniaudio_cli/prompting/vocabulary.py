"""Codes to words to ids and back: the sole owner of that map, checked when it is made. Never knows prompts or audio."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from uniaudio_cli.audio import prosody
from uniaudio_cli.audio.prosody import PROSODY
from uniaudio_cli.core.errors import UniAudioError, UsageError
from uniaudio_cli.llm.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

    from uniaudio_cli.codec.config import CodecConfig


Layout = Literal["levels", "frames"]


class InvalidCodesError(UniAudioError, ValueError):
    """Codes or ids that are no audio in this vocabulary."""


class Vocabulary:
    """How a codec's codes are written in an LLM's ids.

    `levels[k]`: level k's words in code order, each written as the ids it has in running text (one or several); or
    None where a code is an LLM id as it stands. `sizes`, `strides`: codes per level, latent frames per code. `llm`:
    the LLM the codec was made for, named in errors. `shown`: the levels that will be used, all where None: words are
    text to any LLM, so level 0 can be shown to one that the other levels' ids are not of. A word listed twice is read
    as the first of the two. Beside the codec's levels stands `PROSODY`, whose codes have words in any LLM.

    Audio is written in one of two orders. "levels", as published: all codes of the first shown level, then all of the
    next; with strides (4, 2, 1), 8 frames of levels (0, 1) are 2 + 4 codes. "frames": each code of the first shown
    level with the others' codes of its frames behind it, here 1 + 2 and 1 + 2, so that it can be heard as it goes on.

    Raises:
        UsageError: the map could not be read back: two words with the same ids, ids that do not spell their word, a
            word that goes on where another ends and can be mistaken for two, or an LLM of another size.
    """

    def __init__(
        self,
        levels: Sequence[Sequence[str] | None],
        sizes: Sequence[int],
        strides: Sequence[int],
        tokenizer: Tokenizer,
        llm: str = "",
        shown: Sequence[int] | None = None,
    ) -> None:
        self.sizes = tuple(sizes)
        self.strides = tuple(strides)
        self.tokenizer = tokenizer
        if not len(levels) == len(self.sizes) == len(self.strides) > 0:
            raise ValueError(f"{len(levels)} levels, {len(self.sizes)} sizes and {len(self.strides)} strides")
        self.levels = tuple(range(len(self.sizes)))
        self.levels = self._shown(shown)
        self._tables = {
            k: _bare_level(k, self.sizes[k], tokenizer, llm)
            if (words := levels[k]) is None
            else _word_level(k, words, self.sizes[k], tokenizer, llm)
            for k in self.levels
        }
        self._check_ends()
        self._llm = llm
        self.disjoint = self._disjoint(self.levels)

    @cached_property
    def _prosody(self) -> _Level:
        return _word_level(PROSODY, prosody.WORDS, len(prosody.WORDS), self.tokenizer, self._llm)

    def _table(self, level: int) -> _Level:
        return self._prosody if level == PROSODY else self._tables[level]

    def word(self, level: int, code: int) -> str:
        """What a person reads for a code: its word, or the LLM's spelling of the id."""
        return self._table(level).words[code]

    def words(self, codes: Sequence[Iterable[int]], levels: Sequence[int] | None = None) -> list[list[str]]:
        """Codes per shown level -> words per shown level."""
        shown = self._shown(levels)
        return [[self.word(k, c) for c in row] for k, row in zip(shown, self.checked(codes, shown), strict=True)]

    def code_ids(self, level: int) -> list[tuple[int, ...]]:
        """The ids of every code of a level, in code order."""
        return list(self._table(level).ids)

    def audio_ids(self, levels: Sequence[int]) -> list[int]:
        """Every id that audio of these levels can have, sorted."""
        return sorted({id for level in levels for ids in self.code_ids(level) for id in ids})

    def near(self, level: int, logp: Tensor) -> Tensor | None:
        """Log-probabilities of a level's codes [T, K] -> of the ids of `audio_ids((level,))` [T, A]; None where a word
        can be several ids, so that no id is a word."""
        import torch

        ids = self.code_ids(level)
        if any(len(each) > 1 for each in ids):
            return None
        place = {id: number for number, id in enumerate(self.audio_ids((level,)))}
        column = torch.tensor([place[id] for (id,) in ids], device=logp.device)
        return torch.zeros(len(logp), len(place)).to(logp).index_add_(1, column, logp.exp()).log()

    def counts(self, frames: int, levels: Sequence[int] | None = None) -> list[int]:
        """Codes per shown level in `frames` latent frames; 8 frames at strides (4, 2, 1) are [2, 4, 8].

        Raises:
            InvalidCodesError: a level's stride does not divide `frames`, or there are none.
        """
        strides = [self.strides[k] for k in self._shown(levels)]
        if frames <= 0 or any(frames % stride for stride in strides):
            raise InvalidCodesError(f"{frames} frames are no whole number of codes at strides {tuple(strides)}")
        return [frames // stride for stride in strides]

    def checked(self, codes: Sequence[Iterable[int]], levels: Sequence[int] | None = None) -> list[list[int]]:
        """Codes per shown level (lists, arrays or tensors) as lists of int.

        Raises:
            InvalidCodesError: not one row per shown level, rows whose lengths do not fit the strides, or a code outside
                its level.
        """
        shown = self._shown(levels)
        rows = [_ints(row) for row in codes]
        if len(rows) != len(shown):
            raise InvalidCodesError(f"{len(rows)} levels of codes were given where levels {shown} are shown")
        heard = [(k, row) for k, row in zip(shown, rows, strict=True) if k != PROSODY]
        if 0 in map(len, rows) or len({len(row) * self.strides[k] for k, row in heard}) > 1:
            strides = tuple(self.strides[k] for k, _ in heard)
            raise InvalidCodesError(f"levels of {[len(row) for row in rows]} codes do not fit the strides {strides}")
        for k, row in zip(shown, rows, strict=True):
            size = len(self._table(k).words)
            if min(row) < 0 or max(row) >= size:
                raise InvalidCodesError(f"{_level_names([k])} has codes 0 to {size - 1}, not {min(row)} to {max(row)}")
        return rows

    def ids(
        self, codes: Sequence[Iterable[int]], levels: Sequence[int] | None = None, order: Layout = "levels"
    ) -> list[int]:
        """Codes per shown level (all levels where `levels` is None) -> ids, in one of the two orders.

        Raises:
            InvalidCodesError: as `checked` says.
            UsageError: "frames", and these levels could not be read back from it.
        """
        shown = self._shown(levels)
        rows = self.checked(codes, shown)
        if order == "frames":
            counts = self._per_group(shown)
            groups = range(len(rows[0]))
            chunks = [
                (k, row[g * n : (g + 1) * n]) for g in groups for k, n, row in zip(shown, counts, rows, strict=True)
            ]
        else:
            chunks = list(zip(shown, rows, strict=True))
        return [id for k, row in chunks for code in row for id in self._table(k).ids[code]]

    def framed(self, levels: Sequence[int] | None = None) -> bool:
        """Whether these levels can be written frame by frame."""
        return not self._mistaken(self._shown(levels))

    def _mistaken(self, shown: Sequence[int]) -> list[int]:
        """Ids of which frame order does not say what they are: they end a longer word of one level and begin one of
        another, and after the last level of a group comes the first of the next, so any can stand before any other."""
        tables = [self._tables[k] for k in shown]
        return sorted({id for a in tables for b in tables if a is not b for id in a.goes_on & b.first})

    def _per_group(self, shown: Sequence[int]) -> list[int]:
        """Codes of each shown level that stand together in frame order. Raises UsageError as `ids` does."""
        if shared := self._mistaken(shown):
            raise UsageError(
                f"{_level_names(shown)} cannot be written frame by frame: {self.tokenizer.token(shared[0])!r} both "
                f"ends a longer word of one level and begins a word of another; write them in the order of levels"
            )
        return [self.strides[shown[0]] // self.strides[k] for k in shown]

    def codes(
        self,
        ids: Sequence[int],
        frames: int | None = None,
        levels: Sequence[int] | None = None,
        order: Layout = "levels",
    ) -> list[list[int]]:
        """Ids -> codes per shown level, the inverse of `ids`.

        `frames`: latent frames, which say how many codes each level has. Without it, ids in the order of levels must
        say their own level: only one level is shown, or the shown levels share no ids (`disjoint`).

        Raises:
            InvalidCodesError: the ids are not the whole of such an audio.
        """
        shown, ids = self._shown(levels), _ints(ids)
        if order == "frames":
            return self._read_frames(ids, frames, shown)
        if frames is None and len(shown) > 1 and not self._disjoint(shown):
            raise InvalidCodesError(f"levels {shown} share ids, so only with a number of frames can they be told apart")
        counts = [None] * len(shown) if frames is None else self.counts(frames, shown)
        rows: list[list[int]] = []
        start = 0
        for place, (k, count) in enumerate(zip(shown, counts, strict=True)):
            stop = len(ids) if frames is None else len(ids) - self._known_tail(frames, shown[place + 1 :])
            row, start = self._read_level(ids, start, stop, k, count)
            rows.append(row)
        if start < len(ids):
            raise InvalidCodesError(f"{self._where(ids, start)} is not of {_level_names(shown)}, or one too many")
        return self.checked(rows, shown)

    def _read_frames(self, ids: Sequence[int], frames: int | None, shown: Sequence[int]) -> list[list[int]]:
        counts = self._per_group(shown)
        rows: list[list[int]] = [[] for _ in shown]
        start = 0
        while start < len(ids):
            for row, k, count in zip(rows, shown, counts, strict=True):
                more, start = self._read_level(ids, start, len(ids), k, count)
                row += more
        found = self.checked(rows, shown)
        if frames is not None and [*map(len, found)] != self.counts(frames, shown):
            raise InvalidCodesError(f"{len(ids)} ids are {len(found[0])} groups of frames, not {frames} frames")
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
            # The longest word is the right one: a shorter one is its beginning only where no word starts with the rest.
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

    def _shown(self, levels: Sequence[int] | None) -> tuple[int, ...]:
        if levels is None:
            return self.levels
        shown = tuple(levels)
        if not shown or list(shown) != sorted(set(shown)) or not set(shown) <= {PROSODY, *self.levels}:
            raise UsageError(f"levels {list(shown)}: name some of {list(self.levels)}, each once, coarsest first")
        return shown

    def _disjoint(self, levels: Iterable[int]) -> bool:
        tables = [self._tables[k] for k in levels]
        firsts = [id for table in tables for id in table.first]
        runs_on = any(a.goes_on & b.first for a in tables for b in tables if a is not b)
        return len(firsts) == len(set(firsts)) and not runs_on

    def _check_ends(self) -> None:
        """Refuse levels whose last word could take the next level's first id for its own ending."""
        for k, table in self._tables.items():
            later = [self._tables[j] for j in self.levels if j > k]
            shared = sorted(table.goes_on & {id for other in later for id in other.first})
            if shared and not all(other.width for other in later):
                raise UsageError(
                    f"the end of level {k} could not be found: {self.tokenizer.token(shared[0])!r} both ends a longer "
                    f"word of it and begins a word of a later level; leave one of them out of the words"
                )

    def _where(self, ids: Sequence[int], position: int) -> str:
        id = ids[position]
        spelling = f" ({self.tokenizer.token(id)!r})" if 0 <= id < self.tokenizer.size else ""
        return f"id {id}{spelling} at place {position + 1} of {len(ids)}"


class _Level:
    """One level's table. `first`: the ids words begin with; `goes_on`: those a longer word goes on with after a shorter
    one; `width`: ids per code, None where that differs from code to code."""

    def __init__(self, words: Sequence[str], ids: Sequence[tuple[int, ...]]) -> None:
        self.words = tuple(words)
        self.ids = tuple(ids)
        self.code = {seq: code for code, seq in reversed(list(enumerate(self.ids)))}
        self.first = frozenset(seq[0] for seq in self.ids)
        lengths = {len(seq) for seq in self.ids}
        self.longest = max(lengths)
        self.width = self.longest if len(lengths) == 1 else None
        self.goes_on = frozenset(seq[n] for seq in self.code for n in range(1, len(seq)) if seq[:n] in self.code)


def _bare_level(level: int, size: int, tokenizer: Tokenizer, llm: str) -> _Level:
    if tokenizer.size != size:
        made_for = f" ({llm})" if llm else ""
        raise UsageError(
            f"level {level}'s codes are ids of the LLM the codec was made for{made_for}, which has {size} of them, and "
            f"this LLM has {tokenizer.size}; use the codec's own LLM, or show only levels written in words"
        )
    return _Level([tokenizer.token(id) for id in range(size)], [(id,) for id in range(size)])


def _word_level(level: int, words: Sequence[str], size: int, tokenizer: Tokenizer, llm: str) -> _Level:
    if len(words) != size:
        raise UsageError(f"level {level} has {size} codes and {len(words)} words")
    ids = [tokenizer.word_ids(word) for word in words]
    spelt: dict[tuple[int, ...], str] = {}
    for word, seq in zip(words, ids, strict=True):
        if not seq or tokenizer.decode(seq).removeprefix(" ") != word:
            made_for = f"; the codec was made for {llm}" if llm else ""
            raise UsageError(f"level {level}: this LLM cannot write {word!r} ({tokenizer.decode(seq)!r}){made_for}")
        if spelt.setdefault(seq, word) != word:
            raise UsageError(f"level {level}: {spelt[seq]!r} and {word!r} have the same ids {list(seq)}")
    table = _Level(words, ids)
    shared = table.goes_on & table.first
    if shared:
        longer = next(s for s in spelt if any(s[:n] in spelt and s[n] in shared for n in range(1, len(s))))
        shorter = next(longer[:n] for n in range(1, len(longer)) if longer[:n] in spelt and longer[n] in shared)
        raise UsageError(
            f"level {level}: {spelt[longer]!r} cannot be told from {spelt[shorter]!r} and another word after it "
            f"(ids {list(longer)} and {list(shorter)}); leave one of them out of the words"
        )
    return table


def _ints(row: Any) -> list[int]:
    return [int(code) for code in (row.tolist() if hasattr(row, "tolist") else row)]


def _level_names(levels: Sequence[int]) -> str:
    return prosody.level_name(levels[0]) if len(levels) == 1 else f"levels {', '.join(map(str, levels))}"


def vocabulary_for(config: CodecConfig, tokenizer: Tokenizer, shown: Sequence[int] | None = None) -> Vocabulary:
    """How a codec's codes are written in an LLM's ids; `shown`: the levels that will be used, all where None.

    Raises:
        UsageError: the codec cannot be written in this LLM's ids.
    """
    return Vocabulary(config.words, config.sizes, config.strides, tokenizer, config.llm, shown)

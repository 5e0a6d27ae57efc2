"""Words and ids of one codec level, and the checks that a sequence of words can be read back from its ids."""

from __future__ import annotations

from collections.abc import Sequence

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.llm.tokenizer import Tokenizer


class LevelTable:
    """The words and ids of one level's codes.

    `words[code]`, `ids[code]`: a code's word and the ids it is written as. `code[ids]`: the code of an id sequence, the
    first where two have the same. `first`: ids that a word begins with. `continues`: ids with which a longer word
    continues after a shorter one. `width`: ids per code; None where it differs between codes. `longest`: most ids of a
    code.
    """

    def __init__(self, words: Sequence[str], ids: Sequence[tuple[int, ...]]) -> None:
        self.words = tuple(words)
        self.ids = tuple(ids)
        self.code = {seq: code for code, seq in reversed(list(enumerate(self.ids)))}
        self.first = frozenset(seq[0] for seq in self.ids)
        lengths = {len(seq) for seq in self.ids}
        self.longest = max(lengths)
        self.width = self.longest if len(lengths) == 1 else None
        self.continues = frozenset(seq[n] for seq in self.code for n in range(1, len(seq)) if seq[:n] in self.code)


def token_table(level: int, size: int, tokenizer: Tokenizer, llm: str) -> LevelTable:
    """The table of a level whose codes are LLM ids.

    Raises:
        UsageError: the LLM has another number of ids.
    """
    if tokenizer.size != size:
        made_for = f" ({llm})" if llm else ""
        raise UsageError(
            f"level {level}'s codes are ids of the LLM that the codec is made for{made_for}, which has {size} of them, "
            f"and this LLM has {tokenizer.size}; use the codec's own LLM, or only levels written in words"
        )
    return LevelTable([tokenizer.token(id) for id in range(size)], [(id,) for id in range(size)])


def word_table(level: int, words: Sequence[str], size: int, tokenizer: Tokenizer, llm: str) -> LevelTable:
    """The table of a level whose codes are words.

    Raises:
        UsageError: a word cannot be tokenised and read back, or two words cannot be told apart.
    """
    if len(words) != size:
        raise UsageError(f"level {level} has {size} codes and {len(words)} words")
    ids = [tokenizer.word_ids(word) for word in words]
    word_of: dict[tuple[int, ...], str] = {}
    for word, seq in zip(words, ids, strict=True):
        if not seq or tokenizer.decode(seq).removeprefix(" ") != word:
            made_for = f"; the codec is made for {llm}" if llm else ""
            raise UsageError(f"level {level}: this LLM cannot write {word!r} ({tokenizer.decode(seq)!r}){made_for}")
        if word_of.setdefault(seq, word) != word:
            raise UsageError(f"level {level}: {word_of[seq]!r} and {word!r} have the same ids {list(seq)}")
    table = LevelTable(words, ids)
    shared = table.continues & table.first
    if shared:
        longer = next(s for s in word_of if any(s[:n] in word_of and s[n] in shared for n in range(1, len(s))))
        shorter = next(longer[:n] for n in range(1, len(longer)) if longer[:n] in word_of and longer[n] in shared)
        raise UsageError(
            f"level {level}: {word_of[longer]!r} cannot be told apart from {word_of[shorter]!r} and another word "
            f"after it (ids {list(longer)} and {list(shorter)}); leave out one of these words"
        )
    return table

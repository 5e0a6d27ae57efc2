"""Literal readings: a text as a sequence of the texts that demonstrations have, numbers in figures or words alike."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cached_property

_UNITS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
# Numbers below this one are read from English words, and their figures as words.
NUMBERS = 1_000
MINUS = "minus"
# A number with or without a decimal part, a word, or any other character.
_TOKEN = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+(?:['\u2019][^\W\d_]+)*|\S")
_SIGN = re.compile(r"(?:(?<=\s)|^)[-\u2212](?=\d)")
_HYPHEN = re.compile(r"(?<=[^\W\d_])[-\u2010\u2011](?=[^\W\d_])")
# What is written but not spoken.
_SILENT = frozenset(".,;:!?\u00a1\u00bf\u2026\"'\u2018\u2019\u201c\u201d()")
_INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\ufe0f"))

Parts = tuple[str, ...]


def words_of(number: int) -> Parts:
    """A whole number from 0 to 999 in English words.

    >>> words_of(142)
    ('one', 'hundred', 'forty', 'two')
    """
    if number < len(_UNITS):
        return (_UNITS[number],)
    if number < 100:
        tens, unit = divmod(number, 10)
        return (_TENS[tens - 2], *([_UNITS[unit]] if unit else []))
    hundreds, rest = divmod(number, 100)
    return (_UNITS[hundreds], "hundred", *(words_of(rest) if rest else ()))


_VALUES = {words_of(number): number for number in range(NUMBERS)}


def tokens(text: str) -> Parts:
    """The words, figures and symbols of a text, in lower case and without punctuation.

    >>> tokens("One, forty-two. -5 + 3")
    ('one', 'forty', 'two', 'minus', '5', '+', '3')
    """
    plain = unicodedata.normalize("NFKC", text.translate(_INVISIBLE)).casefold()
    plain = _HYPHEN.sub(" ", _SIGN.sub(f"{MINUS} ", plain.strip()))
    return tuple(token for token in _TOKEN.findall(plain) if token not in _SILENT)


def value_of(words: Parts) -> int | None:
    """The whole number that these tokens write, in figures or in English words; None for anything else."""
    if len(words) == 1 and words[0].isdecimal():
        return int(words[0])
    return _VALUES.get(words)


class Readings:
    """What demonstrations can say: their texts, alone or one after another.

    `texts`: as the demonstrations have them. Of those that differ in case or punctuation alone, the first is spoken.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = tuple(dict.fromkeys(texts))
        self._by_tokens: dict[Parts, str] = {}
        self._by_value: dict[int, str] = {}
        for text in self.texts:
            words = tokens(text)
            self._by_tokens.setdefault(words, text)
            if (value := value_of(words)) is not None:
                self._by_value.setdefault(value, text)
        self._longest = max(map(len, (*self._by_tokens, *_VALUES)))

    def read(self, text: str) -> Parts | None:
        """The demonstrations' texts that say `text`, as few as there can be; None where something of it is in none.

        A number is read by the text of its value, else in words, else digit by digit: "42" is "forty two" or
        "four two".
        """
        if text in self.texts:
            return (text,)
        words = tokens(text)
        return self._cover(words, numbers=True) if words else None

    def is_unsayable(self, text: str) -> bool:
        """Whether `text` is no question either: it holds no letter and no figure, or is a number in none's words."""
        words = tokens(text)
        if not any(character.isalnum() for word in words for character in word):
            return True
        number = words[1:] if words[0] == MINUS else words  # a minus further on is a sum: "seven minus four"
        numeral = all(word[0].isdecimal() or (word,) in _VALUES or word == "hundred" for word in number)
        return numeral and self.read(text) is None

    @cached_property
    def numerals(self) -> dict[str, Parts]:
        """The figures of the numbers below `NUMBERS` that can be said, and how each is said."""
        found = {str(number): self.number(str(number)) for number in range(NUMBERS)}
        return {figures: parts for figures, parts in found.items() if parts is not None}

    @cached_property
    def other_texts(self) -> Parts:
        """The texts that are no number."""
        return tuple(text for text in self.texts if value_of(tokens(text)) is None)

    @property
    def in_order(self) -> Parts:
        """The texts for people: numbers by value, then the others by name."""
        values = {text: value_of(tokens(text)) for text in self.texts}
        return tuple(sorted(self.texts, key=lambda text: (values[text] is None, values[text] or 0, text)))

    def number(self, figures: str) -> Parts | None:
        """How a whole number is said; None where it cannot be."""
        value = int(figures)
        if str(value) == figures:
            if value in self._by_value:
                return (self._by_value[value],)
            if value < NUMBERS and (parts := self._cover(words_of(value), numbers=False)) is not None:
                return parts
        digits = [self._by_value.get(int(digit)) for digit in figures]
        return tuple(digit for digit in digits if digit is not None) if None not in digits else None

    def _cover(self, words: Parts, numbers: bool) -> Parts | None:
        """The fewest texts that have these tokens between them. `numbers`: a number may be said in another form."""
        best: list[Parts | None] = [(), *(None for _ in words)]
        for end in range(1, len(words) + 1):
            for start in range(max(0, end - self._longest), end):
                before, here = best[start], self._span(words[start:end], numbers)
                if before is None or here is None:
                    continue
                known = best[end]
                if known is None or len(before) + len(here) < len(known):
                    best[end] = (*before, *here)
        return best[-1]

    def _span(self, words: Parts, numbers: bool) -> Parts | None:
        if words in self._by_tokens:
            return (self._by_tokens[words],)
        if not numbers or (value := value_of(words)) is None:
            return None
        return self.number(words[0] if words[0].isdecimal() else str(value))

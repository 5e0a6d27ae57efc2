"""What demonstrations can say, and texts read in their words."""

from __future__ import annotations

import pytest

from uniaudio_cli.inference.readings import Readings, tokens, value_of, words_of

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TENS = ("twenty", "thirty two", "forty", "minus", "hundred")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("seven", "seven"),
        ("7", "seven"),
        ("Seven.", "seven"),
        ("seven?", "seven"),
        ("one two three", "one two three"),
        ("one, two, three", "one two three"),
        ("One  Two Three", "one two three"),
        ("\ufeffone two", "one two"),
        ("one-two", "one two"),
        ("1,2,3", "one two three"),
        ("4 2", "four two"),
        ("42", "four two"),
        ("forty two", "four two"),
        ("Forty-Two", "four two"),
        ("eleven", "one one"),
        ("one hundred", "one zero zero"),
        ("007", "zero zero seven"),
        ("5551234567890", "five five five one two three four five six seven eight nine zero"),
        ("\uff14\uff12", "four two"),
        ("\u0663", "three"),
        *(
            (text, None)
            for text in ("-5", "3.5", "", "...", "\U0001f642", "2 + 3", "5-3", "5 - 3", "hello", "one two go")
        ),
    ],
)
def test_a_text_is_read_in_the_words_of_digits(text, parts):
    assert Readings(DIGITS).read(text) == (None if parts is None else tuple(parts.split()))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("42", ["forty", "two"]),
        ("32", ["thirty two"]),
        ("thirty-two", ["thirty two"]),
        ("33", ["three", "three"]),
        ("120", ["one", "hundred", "twenty"]),
        ("-5", ["minus", "five"]),
        ("minus 5", ["minus", "five"]),
        ("forty thirty two", ["forty", "thirty two"]),
    ],
)
def test_the_fewest_texts_are_spoken(text, parts):
    assert Readings((*DIGITS, *TENS)).read(text) == tuple(parts)


def test_texts_in_figures_and_in_other_words_are_read_too():
    readings = Readings(("1", "2", "Left", "left", "turn right", "C#"))
    assert readings.read("two one LEFT, turn right!") == ("2", "1", "Left", "turn right")
    assert readings.read("left") == ("left",)  # as it stands
    assert readings.read("c#") == ("C#",)
    assert readings.other_texts == ("Left", "left", "turn right", "C#")
    assert readings.numerals == {
        **{"1": ("1",), "2": ("2",)},
        **{f"{a}{b}": (a, b) for a in "12" for b in "12"},
        **{f"{a}{b}{c}": (a, b, c) for a in "12" for b in "12" for c in "12"},
    }


@pytest.mark.parametrize("text", ["-5", "3.5", "...", "\U0001f642", "+", "minus one"])
def test_what_is_neither_said_nor_a_question(text):
    assert Readings(DIGITS).is_unsayable(text)


@pytest.mark.parametrize("text", ["2 + 3", "hello", "7", "the number after 6", "one + x", "seven minus four", "7 -4"])
def test_what_is_said_or_a_question(text):
    assert not Readings(DIGITS).is_unsayable(text)


def test_numbers_in_words():
    assert words_of(0) == ("zero",)
    assert words_of(999) == ("nine", "hundred", "ninety", "nine")
    assert [value_of(words_of(number)) for number in range(1000)] == list(range(1000))
    assert tokens("One, forty-two. -5 + 3") == ("one", "forty", "two", "minus", "5", "+", "3")
    assert value_of(("forty", "forty")) is None

"""The parts of zero-shot evaluation that need no model."""

import pytest

from uniaudio_cli.evaluation.affinities import overlap, stem


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [("dog barking", "Bark", 0.5), ("rain", "Rain on surface", 0.5), ("cello", "Dog", 0.0), ("Raining", "rains", 1.0)],
)
def test_word_overlap_by_hand(first, second, shared):
    assert overlap(first, second) == shared


def test_stems_keep_three_letters():
    assert [stem(word) for word in ("barking", "Rings", "sing", "bee", "dogs")] == [
        "bark",
        "ring",
        "sing",
        "bee",
        "dog",
    ]

"""Selection strategies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.kits import clean_task, label_task, make_kit, write_clips
from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.data.demonstrations import Demonstration, choose
from uniaudio_cli.inference.selection import representatives, select_demonstrations, separation_margins

# Two kinds of clips: three of words 0 and 1, two of words 7 and 8, of which the first of each has most of the others'.
KINDS = [[7, 7, 8], [0, 0, 1, 1], [0, 0, 0, 1], [0, 1, 1, 1], [7, 8, 8]]


@pytest.mark.parametrize(("count", "expected"), [(0, []), (1, [1]), (2, [1, 0]), (9, [0, 1, 2, 3, 4])])
def test_the_typical_clip_first_and_then_the_other_kind(count, expected):
    found = representatives(KINDS, count)
    assert found[:2] == ([1, 0][:count])
    assert (found if count < 9 else sorted(found)) == expected


def test_equals_are_taken_in_order_and_clips_without_words_are_no_trouble():
    assert representatives([[1, 2], [2, 1], [2, 1]], 3) == [0, 1, 2]
    assert representatives([[], [3], []], 1) == [1]


def test_a_copy_s_margin_is_what_it_is_nearer_to_its_own_kind():
    # Dimension 1 says nothing, however large its numbers; dimension 0 spreads by 2 over the originals.
    originals = np.array([[0.0, 700.0], [0.0, 700.0], [4.0, 700.0], [4.0, 700.0]])
    copies = np.array([[0.0, 700.0], [3.0, 700.0], [4.0, 700.0], [2.0, 700.0]])
    assert separation_margins(copies, originals, ["a", "a", "b", "b"]) == pytest.approx([2.0, -1.0, 2.0, 0.0], abs=1e-4)
    assert separation_margins(copies[:1], originals[:1], ["a"]) == [0.0]
    alone = separation_margins(copies[:3], originals[:3], ["a", "a", "b"])
    assert alone[2] > 0  # no other of its kind: how far it is from the rest


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    return write_clips(tmp_path_factory.mktemp("clips"))


def test_representative_clips_of_each_label_are_selected(clips):
    kit, task, typical = make_kit(), label_task(), label_task(selection="representative")
    given = [Demonstration(clips / f"{n}.wav", "odd" if n % 2 else "even") for n in range(10)]
    drawn = choose(given, 2, 0)
    assert select_demonstrations(kit.encoder, task, given, 2) == drawn
    spread = select_demonstrations(kit.encoder, typical, given, 2)
    assert sorted(each.label for each in spread) == ["even", "even", "odd", "odd"]
    for label in ("even", "odd"):
        order = [each for each in choose(given, 9, 0) if each.label == label]
        words = [kit.encoder.encode_with_offsets(each.audio, task)[0].codes[0] for each in order]
        expected = [order[place] for place in representatives(words, 2)]
        assert [each for each in spread if each.label == label] == expected
    # The choice does not depend on the seed, except among equals.
    assert {each.audio for each in select_demonstrations(kit.encoder, typical, given, 1, 3)} <= {
        each.audio for each in given
    }
    assert select_demonstrations(kit.encoder, typical, given, 9) == choose(given, 9, 0)
    assert [each.label for each in select_demonstrations(kit.encoder, typical, given, 1, labels=["odd"])] == ["odd"]


def test_only_labels_have_representative_clips():
    with pytest.raises(UsageError, match="'selection' must be random where demonstrations have a pair"):
        clean_task(selection="representative")

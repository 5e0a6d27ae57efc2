from __future__ import annotations

import pytest

from uniaudio_cli.llm.packing import fitting, pack


def seen(packed) -> list[list[int]]:
    """Per place the ids it sees, in order."""
    return [[int(packed.ids[n]) for n, sees in enumerate(row) if sees] for row in packed.sees.tolist()]


def test_what_is_shared_is_read_once():
    packed = pack([([5, 6], [7, 8]), ([5, 6], [9]), ([5, 4], [7, 8, 1]), ([], [3])])
    assert packed.ids.tolist() == [5, 6, 7, 4, 7, 8]
    assert packed.depth.tolist() == [0, 1, 2, 1, 2, 3]
    assert seen(packed) == [[5], [5, 6], [5, 6, 7], [5, 4], [5, 4, 7], [5, 4, 7, 8]]
    assert packed.places == [[2, 3], [2], [4, 5, 6], [0]]


def test_nothing_need_be_read_for_single_ids():
    packed = pack([([], [3]), ([], [4])])
    assert packed.ids.tolist() == []
    assert packed.places == [[0], [0]]


@pytest.mark.parametrize(("room", "stops"), [(1, [1, 2, 3]), (3, [2, 3]), (4, [2, 3]), (100, [3])])
def test_pairs_are_taken_while_there_is_room(room, stops):
    stem = [1, 2]
    pairs = [(stem, [3, 4]), (stem, [5]), ([6, 7], [8, 9])]
    found, start = [], 0
    while start < len(pairs):
        start = fitting(pairs, start, room)
        found.append(start)
    assert found == stops

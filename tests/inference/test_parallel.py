"""Clips encoded side by side: order, errors, and torch's threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from uniaudio_cli.codec.frozen.yamnet import Patches, YAMNet
from uniaudio_cli.inference.parallel import side_by_side


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_items_are_worked_on_at_the_same_time_and_come_in_order() -> None:
    both = threading.Barrier(2, timeout=10)
    threads: list[int] = []

    def work(item: int) -> int:
        both.wait()  # a single thread would wait here for ever
        threads.append(torch.get_num_threads())
        return item * item

    assert side_by_side(work, [1, 2, 3, 4]) == [1, 4, 9, 16]
    assert threads == [1] * 4
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_what_one_item_raises_is_raised_and_torch_has_its_threads_again() -> None:
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda item: 1 // item, [1, 0, 2])
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("items", [[], [3]])
def test_one_item_needs_no_thread(items: list[int]) -> None:
    assert side_by_side(lambda item: threading.current_thread().name, items) == ["MainThread"] * len(items)


@pytest.mark.usefixtures("two_threads")
def test_a_tagger_keeps_the_last_clip_of_each_thread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[float] = []
    together = threading.Barrier(2, timeout=10)

    def patches(self: YAMNet, wav: np.ndarray) -> Patches:
        calls.append(float(wav[0]))
        together.wait()
        return Patches(np.full((1, 1024), wav[0]), np.full((1, 521), 1 / 521))

    monkeypatch.setattr(YAMNet, "_patches", patches)
    yamnet = YAMNet(tmp_path)

    def twice(value: float) -> tuple[float, float]:
        wav = np.full(16_000, value, np.float32)
        return float(yamnet.patches(wav).embedding[0, 0]), float(yamnet.patches(wav).embedding[0, 0])

    assert side_by_side(twice, [0.25, 0.5]) == [(0.25, 0.25), (0.5, 0.5)]
    assert sorted(calls) == [0.25, 0.5]

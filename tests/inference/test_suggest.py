"""What to label next: uncertain, unlike each other, in constant memory; and reading ahead, which keeps the order."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from uniaudio_cli.inference.read_ahead import AHEAD, read_ahead
from uniaudio_cli.inference.results import LabelResult
from uniaudio_cli.inference.suggest import CANDIDATES, Suggestions, diverse


def test_the_next_is_uncertain_and_far():
    features = np.array([[0.0], [0.1], [5.0], [9.0]])
    assert diverse(np.array([1.0, 0.99, 0.5, 0.1]), features, 2) == [0, 2]
    assert diverse(np.array([1.0, 0.9]), np.zeros((2, 1)), 2) == [0]  # a copy
    assert diverse(np.zeros(0), np.zeros((0, 1)), 2) == []


def test_candidates_are_few():
    suggestions = Suggestions(2)
    for number in range(100):
        p = 0.5 + number / 250
        features = np.array([float(number % 7), 1.0])
        suggestions.add(LabelResult(str(number), "a", {"a": p, "b": 1 - p}, 2 * p - 1, features=features))
    assert len(suggestions._kept) == 2 * CANDIDATES
    first, second = suggestions.chosen()
    assert (first.file, second.file) == ("0", "6")


def test_reading_ahead_keeps_order_and_errors():
    assert list(read_ahead(lambda n: n * n, range(100))) == [n * n for n in range(100)]
    assert list(read_ahead(str, [])) == []
    results = read_ahead(lambda n: 1 // n, [2, 1, 0, 1])
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_reading_is_done_meanwhile_and_not_without_end():
    read, taken = [], []
    first = threading.Event()

    def work(n: int) -> int:
        first.set()
        read.append(n)
        return n

    results = read_ahead(work, (taken.append(n) or n for n in range(1000)))
    next(results)
    assert first.wait(5)
    assert len(taken) <= 2
    for _ in range(50):
        next(results)
    time.sleep(0.05)
    assert 51 < len(taken) <= 51 + AHEAD + 1
    results.close()

"""Reading ahead: the next items are read by a worker thread while those before them are computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Read = TypeVar("Read")

AHEAD = 16  # items that are read before they are needed


def read_ahead(read: Callable[[Item], Read], items: Iterable[Item], ahead: int = AHEAD) -> Iterator[Read]:
    """`read(item)` of every item, in order. What it raises is raised where its result is due."""
    waiting: deque[Future[Read]] = deque()
    with ThreadPoolExecutor(1, "read-ahead") as worker:
        try:
            taken = 0
            for item in items:
                waiting.append(worker.submit(read, item))
                # Growing, so that the first of items that come one by one does not wait for many others.
                if len(waiting) > min(taken, ahead):
                    taken += 1
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

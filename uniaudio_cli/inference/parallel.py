"""Clips encoded side by side: one thread a core, each with one of torch's threads.

The networks that encode a clip are small. Two clips at a time take less than one after the other with two threads each,
as one network or another never fills both cores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Torch's own threads off, in this thread and those started within."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """`work(item)` of every item, in order, in as many threads as torch has. What it raises is raised here."""
    workers = min(torch.get_num_threads(), len(items))
    if workers < 2:
        return [work(item) for item in items]
    with one_torch_thread(), ThreadPoolExecutor(workers, "encode") as pool:
        return list(pool.map(work, items))

"""Worker processes: each builds the systems of a job for itself and answers blocks of episodes, in order."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby
from types import TracebackType

import torch

from uniaudio_cli.evaluation.job import Job
from uniaudio_cli.evaluation.results import Answer
from uniaudio_cli.evaluation.runner import Here, Todo

# Episodes that a worker takes at a time; few, so that little is lost when a run is stopped.
BLOCK = 8

# Of a worker: its job and, once the first block has come, its systems.
_job: Job | None = None
_crew: Here | None = None


class Workers:
    """`count` processes as a `runner.Crew`. Each has this process's number of threads, as sums depend on it."""

    def __init__(self, job: Job, count: int) -> None:
        self.job = job
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.cpu_seconds = 0.0
        # Not forked: a fork of a process in which torch has run may hang.
        start = (job, torch.get_num_threads())
        self.pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _start, start)

    def __enter__(self) -> Workers:
        try:
            described = self.pool.submit(_describe).result()
        except BaseException:
            self.pool.shutdown(cancel_futures=True)
            raise
        self.identities, self.skipped = described
        self.names = list(self.identities)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pool.shutdown(cancel_futures=True)

    def answers(self, todo: Sequence[Todo]) -> Iterator[Answer]:
        for answers, seconds, cpu_seconds in self.pool.map(_work, blocks(self.job, todo)):
            for name, spent in seconds.items():
                self.seconds[name] += spent
            self.cpu_seconds += cpu_seconds
            yield from answers

    def words(self, files: Sequence[str]) -> dict[str, str]:
        return self.pool.submit(_words, files).result()


def blocks(job: Job, todo: Sequence[Todo]) -> list[list[Todo]]:
    """Runs of up to `BLOCK` episodes; those that share demonstrations stay together, as one prefill serves them."""
    found: list[list[Todo]] = []
    for _, same in groupby(todo, key=lambda each: (each.shots, job.manifest.episodes[each.episode].demonstrations)):
        some = list(same)
        joins = len(some) == 1 and found and len(found[-1]) < BLOCK
        if joins:
            found[-1].extend(some)
        else:
            found += [some[start : start + BLOCK] for start in range(0, len(some), BLOCK)]
    return found


def _start(job: Job, threads: int) -> None:
    """In a worker: keep the job, compute with so many threads, and end with the parent, however that ends."""
    global _job
    _job = job
    torch.set_num_threads(threads)
    parent = multiprocessing.parent_process()

    def end() -> None:
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()


def _here() -> Here:
    """The systems, built by the first call: what the initializer of a pool raises would be lost."""
    global _crew
    if _crew is None:
        assert _job is not None
        _crew = _job.crew()
    return _crew


def _describe() -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    crew = _here()
    return crew.identities, crew.skipped


def _work(block: list[Todo]) -> tuple[list[Answer], dict[str, float], float]:
    started, crew = time.process_time(), _here()
    before = dict(crew.seconds)
    answers = list(crew.answers(block))
    spent = {name: seconds - before.get(name, 0.0) for name, seconds in crew.seconds.items()}
    return answers, spent, time.process_time() - started


def _words(files: Sequence[str]) -> dict[str, str]:
    return _here().words(files)

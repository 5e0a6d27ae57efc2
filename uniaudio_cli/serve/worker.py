"""One thread that uses the models: a bounded queue of jobs, and clips of several requests scored together."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from uniaudio_cli.serve.problems import Problem

COLLECT = 0.003  # seconds that a batch waits for others where there may be some; small beside the scoring of a clip
SLICE = 0.25  # seconds of a long job before others have their turn
MOST_ITEMS = 32  # a batch is closed by this many items
log = logging.getLogger("uniaudio.serve")
Batch = Callable[[Sequence[Any]], Sequence[Any]]


@dataclass
class Job:
    """Work for the thread: `run` takes the items of all jobs of one `key` and gives one result an item.

    `key`: None for a job that is done alone. `future`: the results of this job's items.
    """

    run: Batch
    items: Sequence[Any]
    key: Hashable = None
    future: Future[list[Any]] = field(default_factory=Future)


class Worker:
    """Runs jobs one after another, those of one key together.

    Args:
        queue: jobs that may wait.
    """

    def __init__(self, queue: int) -> None:
        self.queue = queue
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._shared = False  # whether the last batch was of several jobs
        self._seconds = 1.0  # of a job, a running mean
        self._thread = threading.Thread(target=self._run, name="uniaudio-models", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """Jobs that wait."""
        return len(self._waiting)

    def submit(self, run: Batch, items: Sequence[Any], key: Hashable = None, begun: bool = False) -> Future[list[Any]]:
        """Queue a job. A future that is cancelled before its job starts is passed over.

        `begun`: part of an answer that has begun, which a full queue does not refuse.

        Raises:
            Problem: 429 where the queue is full, 503 where the server is stopping.
        """
        job = Job(run, items, key)
        with self._changed:
            if self._closed:
                raise Problem(503, "the server is stopping")
            if len(self._waiting) >= self.queue and not begun:
                wait = max(1, round(self._seconds * len(self._waiting)))
                raise Problem(429, f"{self.queue} requests wait already", {"Retry-After": str(wait)})
            self._waiting.append(job)
            self._changed.notify()
        return job.future

    def call(self, work: Callable[[], Any], begun: bool = False) -> Future[list[Any]]:
        """Queue a function; the result's only item is what it returns."""
        return self.submit(lambda _: [work()], [None], begun=begun)

    def advance(self, steps: Iterator[Any], begun: bool) -> Future[list[Any]]:
        """Queue a slice of a long job; the result's only item is a list of what `steps` gave, empty at its end."""

        def work() -> list[Any]:
            given, ends = [], time.perf_counter() + SLICE
            for each in steps:
                given.append(each)
                if time.perf_counter() >= ends:
                    break
            return given

        return self.call(work, begun)

    def close(self, timeout: float | None = None) -> None:
        """Take no more jobs, do those that wait, and end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return
                first = self._waiting.popleft()
            jobs = [job for job in self._with_others(first) if job.future.set_running_or_notify_cancel()]
            if jobs:
                started = time.perf_counter()
                _do(jobs)
                spent = (time.perf_counter() - started) / len(jobs)
                self._seconds += 0.2 * (spent - self._seconds)

    def _with_others(self, first: Job) -> list[Job]:
        """`first` and the waiting jobs of its key, as far as they fit into a batch."""
        if first.key is None:
            return [first]
        with self._changed:
            # A client by itself would wait for nobody.
            deadline = time.monotonic() + (COLLECT if self._shared or self._waiting else 0.0)
            while not self._closed and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            jobs, count = [first], len(first.items)
            for job in list(self._waiting):
                if job.key == first.key and count + len(job.items) <= MOST_ITEMS:
                    self._waiting.remove(job)
                    jobs.append(job)
                    count += len(job.items)
        self._shared = len(jobs) > 1
        return jobs


def _do(jobs: Sequence[Job]) -> None:
    """Run jobs of one key together; where that fails, each by itself, so that one does not fail another's."""
    items = [item for job in jobs for item in job.items]
    try:
        results = list(jobs[0].run(items))
    except BaseException as error:
        if len(jobs) > 1:
            for job in jobs:
                _do([job])
            return
        jobs[0].future.set_exception(error)
        return
    start = 0
    for job in jobs:
        job.future.set_result(results[start : start + len(job.items)])
        start += len(job.items)

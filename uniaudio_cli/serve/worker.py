"""One thread that uses the models, with a bounded queue of jobs; clips of several requests are encoded side by side.

The networks that encode a clip take one clip at a time, and two clips in two threads take less than one after the other
with both. So what is gained by a batch is gained without one: a clip starts when a thread is free, whoever sent it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from uniaudio_cli.inference.parallel import one_torch_thread
from uniaudio_cli.serve.problems import Problem

SLICE = 0.25  # seconds of a long job before others have their turn
log = logging.getLogger("uniaudio.serve")


@dataclass
class Job:
    """Work for the thread: `run` gives the results or, where there are `items`, the function of one item.

    That function may be called in other threads, for several items at a time. `future`: the results.
    """

    run: Callable[[], Any]
    items: Sequence[Any] | None = None
    future: Future[list[Any]] = field(default_factory=Future)


@dataclass
class _Tally:
    """What has become of a job's items so far."""

    results: list[Any]
    left: int
    error: BaseException | None = None


class Worker:
    """Runs jobs one after another, and those with items side by side.

    Args:
        queue: jobs that may wait.
        width: items at a time.
    """

    def __init__(self, queue: int, width: int = 1) -> None:
        self.queue, self.width = queue, width
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._busy = 0  # items that are done or wait in other threads
        self._seconds = 1.0  # of a job, a running mean
        self._finished = time.perf_counter()  # when the last job was done
        self._thread = threading.Thread(target=self._run, name="uniaudio-models", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """Jobs that wait."""
        return len(self._waiting)

    def submit(
        self, run: Callable[[], Any], items: Sequence[Any] | None = None, begun: bool = False
    ) -> Future[list[Any]]:
        """Queue a job. A future that is cancelled before its job starts is passed over.

        `begun`: part of an answer that has begun, which a full queue does not refuse.

        Raises:
            Problem: 429 where the queue is full, 503 where the server is stopping.
        """
        job = Job(run, items)
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
        return self.submit(lambda: [work()], begun=begun)

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
                job = self._waiting.popleft()
                alone = job.items is None or (len(job.items) == 1 and not self._others_have_items())
            self._finished = time.perf_counter()
            if alone or self.width < 2:
                self._do(job)
            else:
                self._side_by_side(job)

    def _others_have_items(self) -> bool:
        return bool(self._waiting) and self._waiting[0].items is not None

    def _do(self, job: Job) -> None:
        """A job in this thread, with all of torch's threads."""
        if not job.future.set_running_or_notify_cancel():
            return
        try:
            found = job.run()
            results = list(found) if job.items is None else [found(item) for item in job.items]
        except BaseException as error:
            job.future.set_exception(error)
        else:
            job.future.set_result(results)
        self._note_end()

    def _side_by_side(self, first: Job) -> None:
        """`first` and the jobs with items that wait behind it, for as long as such jobs come."""
        with one_torch_thread(), ThreadPoolExecutor(self.width, "uniaudio-clip") as pool:
            job: Job | None = first
            while job is not None:
                self._begin(job, pool)
                job = self._next_beside()

    def _next_beside(self) -> Job | None:
        """The next job with items, once a thread is free; None once all are done and no such job is next."""
        with self._changed:
            while True:
                if self._busy < self.width and self._others_have_items():
                    return self._waiting.popleft()
                if not self._busy:
                    return None
                self._changed.wait()

    def _begin(self, job: Job, pool: ThreadPoolExecutor) -> None:
        if not job.future.set_running_or_notify_cancel():
            return
        assert job.items is not None
        try:
            of_item = job.run()
        except BaseException as error:
            job.future.set_exception(error)
            return
        if not job.items:
            job.future.set_result([])
            return
        tally = _Tally([None] * len(job.items), len(job.items))
        with self._changed:
            self._busy += len(job.items)
        for place in range(len(job.items)):
            pool.submit(self._do_item, job, of_item, place, tally)

    def _do_item(self, job: Job, of_item: Callable[[Any], Any], place: int, tally: _Tally) -> None:
        """One item, in a thread of the pool; the last item of a job to be done ends it."""
        assert job.items is not None
        try:
            tally.results[place] = of_item(job.items[place])
        except BaseException as error:
            tally.error = tally.error or error
        with self._changed:
            self._busy -= 1
            tally.left -= 1
            ended = not tally.left
            if ended:
                self._note_end()
            self._changed.notify_all()
        if ended and tally.error is not None:
            job.future.set_exception(tally.error)
        elif ended:
            job.future.set_result(tally.results)

    def _note_end(self) -> None:
        """Count the time since the last job's end into the mean of a job."""
        now = time.perf_counter()
        self._seconds += 0.2 * (now - self._finished - self._seconds)
        self._finished = now

"""The queue: batches, bounds, cancellation, failures and the end."""

from __future__ import annotations

import threading
import time

import pytest

from uniaudio_cli.serve.problems import Problem
from uniaudio_cli.serve.worker import MOST_ITEMS, Worker


class Gate:
    """Holds the worker until it is opened."""

    def __init__(self, worker: Worker) -> None:
        self.started, self.open = threading.Event(), threading.Event()
        self.future = worker.call(self._wait)
        assert self.started.wait(10)

    def _wait(self) -> None:
        self.started.set()
        assert self.open.wait(10)


@pytest.fixture
def worker():
    worker = Worker(queue=12)
    yield worker
    worker.close(10)


def test_jobs_of_one_key_run_together_and_get_their_own_results(worker):
    gate, batches = Gate(worker), []

    def double(items):
        batches.append(list(items))
        return [2 * item for item in items]

    same = [worker.submit(double, [number, number + 10], "a") for number in range(3)]
    other = worker.submit(double, [7], "b")
    alone = worker.submit(double, [8])
    gate.open.set()
    assert [future.result(10) for future in same] == [[0, 20], [2, 22], [4, 24]]
    assert (other.result(10), alone.result(10)) == ([14], [16])
    assert batches == [[0, 10, 1, 11, 2, 12], [7], [8]]


def test_a_job_by_itself_waits_for_no_others(worker, monkeypatch):
    monkeypatch.setattr("uniaudio_cli.serve.worker.COLLECT", 60.0)
    for number in range(3):
        assert worker.submit(list, [number], "a").result(10) == [number]


def test_after_jobs_that_ran_together_the_next_waits_for_others(worker, monkeypatch):
    gate, sizes = Gate(worker), []

    def count(items):
        sizes.append(len(items))
        return items

    both = [worker.submit(count, [number], "a") for number in range(2)]
    gate.open.set()
    for future in both:
        future.result(10)
    monkeypatch.setattr("uniaudio_cli.serve.worker.COLLECT", 0.5)
    first = worker.submit(count, [0], "a")
    time.sleep(0.05)
    worker.submit(count, [1], "a").result(10)
    first.result(10)
    assert sizes == [2, 2]


def test_a_batch_is_bounded(worker):
    gate, sizes = Gate(worker), []

    def count(items):
        sizes.append(len(items))
        return items

    futures = [worker.submit(count, [0] * (MOST_ITEMS // 2), "a") for _ in range(3)]
    gate.open.set()
    for future in futures:
        future.result(10)
    assert sizes == [MOST_ITEMS, MOST_ITEMS // 2]


def test_one_failure_fails_no_other(worker):
    gate = Gate(worker)

    def work(items):
        if "bad" in items:
            raise ValueError("bad")
        return items

    good, bad = worker.submit(work, ["good"], "a"), worker.submit(work, ["bad"], "a")
    gate.open.set()
    assert good.result(10) == ["good"]
    with pytest.raises(ValueError, match="bad"):
        bad.result(10)


def test_a_full_queue_says_when_to_come_back(worker):
    gate = Gate(worker)
    for _ in range(12):
        worker.call(lambda: None)
    with pytest.raises(Problem) as refused:
        worker.call(lambda: None)
    assert refused.value.status == 429
    assert int(refused.value.headers["Retry-After"]) >= 1
    gate.open.set()


def test_a_long_job_gives_way_after_each_slice(worker, monkeypatch):
    monkeypatch.setattr("uniaudio_cli.serve.worker.SLICE", 0.0)
    gate, order = Gate(worker), []

    def steps():
        for number in range(3):
            order.append(number)
            yield number

    long = steps()
    first, other = worker.advance(long, begun=False), worker.call(lambda: order.append("other"))
    gate.open.set()
    assert first.result(10) == [[0]]
    other.result(10)
    assert [worker.advance(long, begun=True).result(10) for _ in range(4)] == [[[1]], [[2]], [[]], [[]]]
    assert order == [0, "other", 1, 2]


def test_a_slice_holds_many_steps(worker):
    assert worker.advance(iter(range(100)), begun=False).result(10) == [list(range(100))]


def test_a_full_queue_takes_the_rest_of_what_has_begun(worker):
    gate, steps = Gate(worker), iter([1])
    for _ in range(12):
        worker.call(lambda: None)
    with pytest.raises(Problem):
        worker.advance(steps, begun=False)
    begun = worker.advance(steps, begun=True)
    gate.open.set()
    assert begun.result(10) == [[1]]


def test_a_cancelled_job_is_passed_over(worker):
    gate, done = Gate(worker), []
    left = worker.call(lambda: done.append("left"))
    kept = worker.call(lambda: done.append("kept"))
    assert left.cancel()
    gate.open.set()
    kept.result(10)
    assert done == ["kept"]


def test_closing_does_what_waits_and_takes_no_more():
    worker = Worker(queue=4)
    gate = Gate(worker)
    waits = worker.call(lambda: 5)
    threading.Timer(0.05, gate.open.set).start()
    worker.close(10)
    assert waits.result(0) == [5]
    with pytest.raises(Problem) as refused:
        worker.call(lambda: None)
    assert refused.value.status == 503

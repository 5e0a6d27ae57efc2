"""The queue: items side by side, bounds, cancellation, failures and the end."""

from __future__ import annotations

import threading
import time

import pytest

from uniaudio_cli.serve.problems import Problem
from uniaudio_cli.serve.worker import Worker


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
    worker = Worker(queue=12, width=2)
    yield worker
    worker.close(10)


def test_items_of_several_jobs_are_done_side_by_side(worker):
    gate, both = Gate(worker), threading.Barrier(2, timeout=10)

    def meet(item):
        both.wait()  # passes where two items are in work at once
        return 2 * item

    jobs = [worker.submit(lambda: meet, [number]) for number in range(4)]
    gate.open.set()
    assert [job.result(10) for job in jobs] == [[0], [2], [4], [6]]
    assert worker.submit(lambda: meet, [1, 2]).result(10) == [2, 4]


def test_results_keep_the_order_of_their_items(worker):
    def late_first(item):
        time.sleep(0.1 if item == 0 else 0.0)
        return item

    assert worker.submit(lambda: late_first, list(range(6))).result(10) == list(range(6))
    assert worker.submit(lambda: late_first, []).result(10) == []


def test_a_job_is_answered_before_later_ones_are_done(worker):
    gate, held = Gate(worker), threading.Event()
    first = worker.submit(lambda: lambda item: item, [1])
    later = worker.submit(lambda: lambda item: held.wait(10), [2])
    gate.open.set()
    assert first.result(10) == [1]
    assert not later.done()
    held.set()
    later.result(10)


def test_a_job_without_items_waits_for_those_before_it(worker):
    gate, done = Gate(worker), []

    def slowly(item):
        time.sleep(0.05)
        done.append(item)

    before = [worker.submit(lambda: slowly, [number]) for number in range(3)]
    whole = worker.call(lambda: done.append("whole"))
    after = [worker.submit(lambda: slowly, [number]) for number in range(3, 6)]
    gate.open.set()
    for job in (*before, whole, *after):
        job.result(10)
    assert (set(done[:3]), done[3], set(done[4:])) == ({0, 1, 2}, "whole", {3, 4, 5})


def test_a_job_by_itself_runs_in_the_models_thread(worker):
    assert worker.submit(lambda: lambda item: threading.current_thread().name, [0]).result(10) == ["uniaudio-models"]


@pytest.mark.parametrize("width", [1, 2])
def test_one_failure_fails_no_other(width):
    worker = Worker(queue=12, width=width)
    gate = Gate(worker)

    def work(item):
        if item == "bad":
            raise ValueError("bad")
        return item

    def start():
        raise KeyError("start")

    good, bad = worker.submit(lambda: work, ["good"]), worker.submit(lambda: work, ["good", "bad", "good"])
    never, last = worker.submit(start, ["x"]), worker.submit(lambda: work, ["good"])
    gate.open.set()
    assert (good.result(10), last.result(10)) == (["good"], ["good"])
    with pytest.raises(ValueError, match="bad"):
        bad.result(10)
    with pytest.raises(KeyError, match="start"):
        never.result(10)
    worker.close(10)


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

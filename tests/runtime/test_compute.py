"""The thread that computes: in order, one outcome a shard, droppable at a task."""

import queue
import threading

import numpy as np
import pytest

from mlpeft.cluster.worker import messages as wm
from mlpeft.config import RunConfig
from mlpeft.runtime.compute import ComputeThread, Prepared
from tests.cluster.builders import key, lease
from tests.runtime.toy import ToyRunner

META = {"w": np.ones(5, dtype=np.float32)}


@pytest.fixture
def posted():
    return queue.Queue()


@pytest.fixture
def compute(posted):
    thread = ComputeThread(lambda _: Prepared(ToyRunner(), "toy", ""), posted.put)
    yield thread
    thread.close()


def test_shards_are_computed_in_order_with_progress(compute, posted):
    compute.prepare(RunConfig()).result(timeout=30)
    compute.submit(lease(0), META)
    compute.submit(lease(1), META)
    events = [posted.get(timeout=30) for _ in range(4)]
    assert [(type(event), event.key) for event in events] == [
        (wm.ProgressMade, key(0)),
        (wm.ShardComputed, key(0)),
        (wm.ProgressMade, key(1)),
        (wm.ShardComputed, key(1)),
    ]


def test_it_is_one_thread_that_prepares_and_computes(posted):
    threads = []

    def note(update):
        threads.append(threading.current_thread())
        return update

    def prepare(_):
        threads.append(threading.current_thread())
        return Prepared(ToyRunner(note), "toy", "")

    compute = ComputeThread(prepare, posted.put)
    compute.prepare(RunConfig())
    compute.submit(lease(0), META)
    compute.close()
    assert len(set(threads)) == 1
    assert threads[0] is not threading.current_thread()


def test_a_cancelled_shard_is_dropped_before_it_begins(compute, posted):
    compute.prepare(RunConfig())
    compute.cancel(key(0))
    compute.submit(lease(0), META)
    assert posted.get(timeout=30) == wm.ShardCancelled(key(0))


def test_a_shard_is_dropped_at_the_task_that_it_is_at(posted):
    class Cancelling:
        def run(self, meta, shard, progress=None):
            compute.cancel(key(0))
            progress(1)
            raise AssertionError("went on")

    compute = ComputeThread(lambda _: Prepared(Cancelling(), "toy", ""), posted.put)
    compute.prepare(RunConfig())
    compute.submit(lease(0), META)
    assert posted.get(timeout=30) == wm.ShardCancelled(key(0))
    compute.close()


def test_an_error_is_told_and_the_thread_goes_on(posted):
    updates = iter([MemoryError("8 GB wanted"), None])

    def fail_once(update):
        if (error := next(updates)) is not None:
            raise error
        return update

    compute = ComputeThread(
        lambda _: Prepared(ToyRunner(fail_once), "", ""), posted.put
    )
    compute.prepare(RunConfig())
    compute.submit(lease(0), META)
    compute.submit(lease(1), META)
    events = [posted.get(timeout=30) for _ in range(4)]
    compute.close()
    assert events[1] == wm.ShardFailed(key(0), "MemoryError: 8 GB wanted")
    assert isinstance(events[3], wm.ShardComputed)


def test_a_lease_before_a_configuration_is_a_failure(compute, posted):
    compute.submit(lease(0), META)
    assert isinstance(posted.get(timeout=30), wm.ShardFailed)

"""Rounds that need not wait, over real connections."""

import asyncio
import threading
from concurrent.futures import Future

import numpy as np
import pytest

from mlpeft.cluster.coordinator.messages import RoundOpened
from mlpeft.cluster.overview import Bytes, Overview, RunProgress
from mlpeft.cluster.sim import ToyWork, toy_shards, toy_update
from mlpeft.meta.compression import Compression
from mlpeft.runtime.compute import Prepared
from mlpeft.runtime.coordinator.executor import ClusterExecutor
from mlpeft.runtime.coordinator.metrics import Metrics
from mlpeft.runtime.coordinator.server import Server
from mlpeft.runtime.worker.grpc_link import GrpcLink
from tests.cluster.builders import META, Machine, policy_with
from tests.runtime.toy import bounded, toy_coordinator, toy_worker


class Straggler:
    """Computes toy shards, the first of them only when it is told to."""

    def __init__(self, compression):
        self.compression = compression
        self.may_go = threading.Event()
        self.began = threading.Event()

    def run(self, meta, shard, progress=lambda _: None):
        self.began.set()
        assert self.may_go.wait(30)
        progress(len(shard.tasks))
        update = toy_update(meta["w"], shard)
        if self.compression is None:
            return update
        return self.compression.compress(meta, shard, update)


def prepare_with(runner):
    return lambda _: Prepared(runner, "toy", "same view", runner.compression)


@pytest.mark.parametrize(
    ("mode", "packed"), [("quorum", "none"), ("async", "none"), ("quorum", "int8")]
)
def test_a_round_goes_on_without_a_straggler_and_counts_it_later(mode, packed):
    """Rounds 0 and 1 end while its shard of round 0 goes on; round 2 has it.

    A packed sum is restored with the theta that it started from.
    """
    compression = None if packed == "none" else Compression(name=packed)

    async def scenario():
        keys = {"quorum": 0.5, "grace_s": 0.0, "backup_factor": 0.0, "min_workers": 2}
        driver = toy_coordinator({"mode": mode, "compression": packed, **keys})
        server = Server(driver)
        address = await server.start("127.0.0.1", 0)
        straggler, fast = Straggler(compression), Straggler(compression)
        fast.may_go.set()
        workers = [
            toy_worker(GrpcLink(address), "slow", prepare=prepare_with(straggler)),
            toy_worker(GrpcLink(address), "fast", prepare=prepare_with(fast)),
        ]
        tasks = [asyncio.create_task(worker.run()) for worker in workers]
        work, metas, results = ToyWork(4), {}, []
        metas[0] = work.start()
        for number in range(3):
            if number == 2:
                straggler.may_go.set()
                while not driver._machine._state.late_updates:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            result: Future = Future()
            shards = toy_shards(number, 4)
            driver.submit(number, metas[number], shards, result)
            results.append(await asyncio.wrap_future(result))
            metas[number + 1] = work.step(metas, number, results[-1])
        assert straggler.began.is_set()
        driver.end("done")
        await asyncio.gather(*tasks)
        await server.stop(5)
        return results

    results = bounded(scenario())
    assert [len(each.late) for each in results] == [0, 0, 1]
    (late,) = results[2].late
    assert late.round == 0
    assert late.update.index not in results[0].shards
    again = Straggler(compression)
    again.may_go.set()
    shard = toy_shards(0, 4)[late.update.index]
    again = again.run({"w": np.ones(16, dtype=np.float32)}, shard)
    assert late.update.total["w"].tobytes() == again.total["w"].tobytes()


@pytest.mark.parametrize(
    ("mode", "early", "spare"),
    [("sync", False, False), ("quorum", True, False), ("async", True, True)],
)
def test_an_executor_says_whether_it_waits(mode, early, spare):
    class Runtime:
        pass

    runtime = Runtime()
    runtime.mode = mode
    executor = ClusterExecutor(runtime)
    assert (executor.closes_early, executor.spare_shards) == (early, spare)


def test_shards_of_the_open_round_alone_are_among_the_figures_of_a_round():
    """One of round 1 goes on; the two of round 2 are leased, and its third waits."""
    made = Machine(policy_with(max_staleness=2))
    for name in ("ada", "bob", "cyd"):
        made.join(name, at=0.0)
    for version in (0, 1):
        event = RoundOpened(version, toy_shards(version, 3), META, need=2)
        made(event)
        if version == 0:
            made.update("ada", 0)
            made.update("bob", 1)
    cluster = made.state.status(made.now)
    overview = Overview("run", "s", RunProgress(), False, Bytes(), cluster)
    registry = Metrics(lambda: overview).registry
    states = {
        state: registry.get_sample_value("mlpeft_round_shards", {"state": state})
        for state in ("in", "leased", "waiting")
    }
    assert len(cluster.leases) == 3
    assert states == {"in": 0, "leased": 2, "waiting": 1}

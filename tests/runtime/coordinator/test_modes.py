"""Rounds that need not wait, over real connections."""

import asyncio
import threading
from concurrent.futures import Future

import numpy as np
import pytest

from mlpeft.cluster.sim import ToyWork, toy_shards, toy_update
from mlpeft.runtime.compute import Prepared
from mlpeft.runtime.coordinator.executor import ClusterExecutor
from mlpeft.runtime.coordinator.server import Server
from mlpeft.runtime.worker.grpc_link import GrpcLink
from tests.runtime.toy import bounded, toy_coordinator, toy_worker


class Straggler:
    """Computes toy shards, the first of them only when it is told to."""

    def __init__(self):
        self.may_go = threading.Event()
        self.began = threading.Event()

    def run(self, meta, shard, progress=lambda _: None):
        self.began.set()
        assert self.may_go.wait(30)
        progress(len(shard.tasks))
        return toy_update(meta["w"], shard)


def prepare_with(runner):
    return lambda _: Prepared(runner, "toy", "same view")


@pytest.mark.parametrize("mode", ["quorum", "async"])
def test_a_round_goes_on_without_a_straggler_and_counts_it_later(mode):
    """Rounds 0 and 1 end while its shard of round 0 goes on; round 2 has it."""

    async def scenario():
        keys = {"quorum": 0.5, "grace_s": 0.0, "backup_factor": 0.0, "min_workers": 2}
        driver = toy_coordinator({"mode": mode, **keys})
        server = Server(driver)
        address = await server.start("127.0.0.1", 0)
        straggler = Straggler()
        workers = [
            toy_worker(GrpcLink(address), "slow", prepare=prepare_with(straggler)),
            toy_worker(GrpcLink(address), "fast"),
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
    theta = np.ones(16, dtype=np.float32)
    again = toy_update(theta, toy_shards(0, 4)[late.update.index])
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

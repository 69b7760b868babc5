"""Compressed updates and steps of theta over real connections."""

import asyncio
from concurrent.futures import Future

import numpy as np
import pytest

from mlpeft import params
from mlpeft.cluster.sim import toy_shards, toy_update
from mlpeft.meta.aggregate import combine
from mlpeft.meta.compression import Compression
from mlpeft.meta.outer import OuterStep
from mlpeft.runtime.compute import Prepared
from mlpeft.runtime.coordinator.server import Server
from mlpeft.runtime.worker.grpc_link import GrpcLink
from mlpeft.training.executor import LocalExecutor
from tests.runtime.toy import CONFIG, bounded, toy_coordinator, toy_worker

ROUNDS = 5
SIZES = {"inline": 300, "in chunks": 200_000}
NAMES = ["bf16", "int8", "topk", "powersgd"]


class PackingRunner:
    """Computes toy shards, and packs what they return."""

    def __init__(self, compression, spoil=lambda update: update):
        self.config = CONFIG
        self.compression = compression
        self.spoil = spoil

    def run(self, meta, shard, progress=lambda _: None):
        progress(len(shard.tasks))
        update = toy_update(meta["w"], shard)
        return self.spoil(self.compression.compress(meta, shard, update))


def trained(executor, compression, size):
    """Theta and the bytes that its steps took, after some rounds."""
    meta = {"w": np.ones(size, np.float32)}
    outer = OuterStep(lr=0.7, compression=compression, state={})
    for version in range(ROUNDS):
        result = executor.run(version, meta, toy_shards(version))
        moved = outer.step(meta, combine(result.totals), version)
        meta = moved.meta
        if hasattr(executor, "note_step"):
            executor.note_step(version + 1, moved.step)
    return params.digest(meta)


async def on_a_cluster(compression, size, workers, runner):
    """The same over gRPC; the digest, and bytes up and down."""
    driver = toy_coordinator({"compression": compression.name})
    server = Server(driver)
    address = await server.start("127.0.0.1", 0)
    loop = asyncio.get_running_loop()

    def prepare(_):
        return Prepared(runner, "toy", "same view", compression)

    tasks = [
        asyncio.create_task(
            toy_worker(GrpcLink(address), f"w{index}", prepare=prepare).run()
        )
        for index in range(workers)
    ]

    class Executor:
        def run(self, version, meta, shards):
            result: Future = Future()
            loop.call_soon_threadsafe(driver.submit, version, meta, shards, result)
            return result.result(30)

        def note_step(self, version, step):
            loop.call_soon_threadsafe(driver.note_step, version, step)

    digest = await asyncio.to_thread(trained, Executor(), compression, size)
    moved, refused = driver.traffic.bytes_moved(), driver.status().refused
    driver.end("done")
    await asyncio.gather(*tasks)
    await server.stop(5)
    return digest, moved, refused


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
@pytest.mark.parametrize("name", NAMES)
def test_a_cluster_ends_in_the_bytes_of_one_process(name, size):
    compression = Compression(name=name)
    runner = PackingRunner(compression)
    wanted = trained(LocalExecutor(runner), compression, size)
    digest, _, refused = bounded(on_a_cluster(compression, size, 2, runner))
    assert digest == wanted
    assert refused == 0


@pytest.mark.parametrize(("name", "share"), [("bf16", 0.5), ("int8", 0.255)])
def test_updates_and_steps_take_as_few_bytes_as_they_should(name, share):
    """Theta once; then a step down each round, and three updates up."""
    size = SIZES["in chunks"]
    compression = Compression(name=name)
    runner = PackingRunner(compression)
    _, moved, _ = bounded(on_a_cluster(compression, size, 1, runner))
    assert moved.down / (4 * size) == pytest.approx(1 + share * (ROUNDS - 1), rel=0.02)
    assert moved.up / (4 * size) == pytest.approx(share * 3 * ROUNDS, rel=0.02)


def test_an_update_that_is_not_packed_as_agreed_is_refused_and_computed_again():
    compression = Compression(name="int8")
    spoiled = iter([True, False] * 100)

    def spoil(update):
        if not next(spoiled):
            return update
        packed = {**update.packed, "packed/step": update.packed["packed/step"][:-1]}
        return type(update)(update.index, update.count, {}, update.per_task, packed)

    wanted = trained(LocalExecutor(PackingRunner(compression)), compression, 300)
    runner = PackingRunner(compression, spoil)
    digest, _, refused = bounded(on_a_cluster(compression, 300, 1, runner))
    assert digest == wanted
    assert refused > 0

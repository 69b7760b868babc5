"""Large updates on the wire: how many bytes, which leaves, and whose turn it is."""

import asyncio
import dataclasses
import gc
import tracemalloc
from concurrent.futures import Future

import numpy as np
import pytest

from mlpeft.cluster import protocol as p
from mlpeft.cluster.sim import serial_result, toy_shards, toy_step, toy_update
from mlpeft.config import RunConfig
from mlpeft.meta.functional import get_params
from mlpeft.runtime.coordinator.server import Server
from mlpeft.runtime.worker import grpc_link
from mlpeft.runtime.worker.grpc_link import GrpcLink
from mlpeft.training.runner import ShardRunner
from mlpeft.transport.rpc import codec, join_codec
from tests.runtime.toy import VERSIONS, bounded, toy_coordinator, toy_run, toy_worker

SIZE = 600_000
"""Numbers of theta: three chunks."""


class Served:
    """A driver behind a server, where large updates have no room to wait."""

    async def __aenter__(self):
        self.driver = toy_coordinator()
        state = self.driver._machine
        state.policy = dataclasses.replace(state.policy, room_bytes=0)
        self.server = Server(self.driver)
        self.address = await self.server.start("127.0.0.1", 0)
        return self

    async def __aexit__(self, *_):
        self.driver.end("done")
        await self.server.stop(5)


class HandWorker:
    """A worker that computes its lease when it is told to."""

    async def connect(self, served, name):
        self.link = GrpcLink(served.address)
        request = join_codec.JoinRequest(1, VERSIONS.mlpeft, VERSIONS.mlx, name, name)
        joined = await self.link.join(request)
        self.worker_id = joined.worker_id
        self.stream = await self.link.open(p.Hello(joined.worker_id, "", "same view"))
        assert isinstance(await self.stream.receive(), p.Welcome)
        self.messages = asyncio.Queue()
        self.reader = asyncio.create_task(self.read())
        return self

    async def read(self):
        """As a driver does: a large update waits for what comes by the stream."""
        while (message := await self.stream.receive()) is not None:
            self.messages.put_nowait(message)

    async def close(self):
        self.reader.cancel()
        self.stream.close()
        await self.link.close()

    async def lease(self):
        """The next lease, and theta if it comes before it or after."""
        found = {}
        while len(found) < 2:
            message = await self.messages.get()
            found[type(message)] = message
        return found[p.Lease], found[p.Theta].meta["w"]

    def answer(self, lease, theta):
        update = toy_update(theta, lease.shard)
        self.stream.send(p.Update(lease.key, lease.version, update))


@pytest.mark.parametrize("workers", [1, 3])
def test_a_round_moves_theta_once_to_and_once_from_each_worker(workers):
    """2.0 x N x payload; what else there is takes a thousandth."""

    async def scenario():
        async with Served() as served:
            tasks = [
                asyncio.create_task(toy_worker(GrpcLink(served.address), f"w{i}").run())
                for i in range(workers)
            ]
            while len(served.driver.status().workers) < workers:  # noqa: ASYNC110
                await asyncio.sleep(0)
            theta = np.ones(SIZE, dtype=np.float32)
            result: Future = Future()
            served.driver.submit(0, {"w": theta}, toy_shards(0, workers), result)
            await asyncio.wrap_future(result)
            moved = served.driver.traffic.bytes_moved()
            served.driver.end("done")
            await asyncio.gather(*tasks)
            return moved

    moved = bounded(scenario())
    payload = 4 * SIZE
    assert sum(dataclasses.astuple(moved)) / (workers * payload) == pytest.approx(
        2, 1e-3
    )


def test_an_update_far_ahead_is_not_read_before_its_turn():
    """Four workers; the last is done first, and waits for the first two."""

    async def scenario():
        async with Served() as served:
            held = asyncio.Event()
            hold = served.driver.hold

            async def seen(worker, key):
                held.set()
                await hold(worker, key)

            served.driver.hold = seen
            hands = [await HandWorker().connect(served, f"w{i}") for i in range(4)]
            theta = np.ones(SIZE, dtype=np.float32)
            result: Future = Future()
            served.driver.submit(0, {"w": theta}, toy_shards(0, 4), result)
            leased = [await hand.lease() for hand in hands]
            assert [lease.key.shard for lease, _ in leased] == [0, 1, 2, 3]
            hands[3].answer(*leased[3])
            await held.wait()
            early = served.driver.bytes_by_worker()[hands[3].worker_id].up
            status = served.driver.status()
            for index in (1, 0, 2):
                hands[index].answer(*leased[index])
            done = await asyncio.wrap_future(result)
            for hand in hands:
                await hand.close()
            return early, status.shards_in, toy_step(theta, done)

    early, shards_in, theta = bounded(scenario())
    assert early < 4096, "its head alone"
    assert shards_in == 0
    assert theta.tobytes() == serial_result(1, SIZE, shards=4).tobytes()


def test_an_update_that_is_no_longer_wanted_is_passed_over_and_frees_its_slot():
    async def scenario():
        async with Served() as served:
            hand = await HandWorker().connect(served, "ada")
            theta = np.ones(SIZE, dtype=np.float32)
            first: Future = Future()
            served.driver.submit(0, {"w": theta}, toy_shards(0, 1), first)
            lease, start = await hand.lease()
            served.driver.abandon("enough")
            second: Future = Future()
            served.driver.submit(1, {"w": theta}, toy_shards(0, 1), second)
            hand.answer(lease, start)  # of the round that was given up
            assert isinstance(await hand.messages.get(), p.LeaseRevocation)
            hand.answer(*await hand.lease())
            done = await asyncio.wrap_future(second)
            await hand.close()
            return done

    assert bounded(scenario()).totals.total["w"].shape == (SIZE,)


def test_updates_that_are_in_take_no_memory():
    """Five workers answer one after the other; what is held grows with none of them."""

    async def scenario():
        async with Served() as served:
            hands = [await HandWorker().connect(served, f"w{i}") for i in range(5)]
            theta = np.ones(SIZE, dtype=np.float32)
            result: Future = Future()
            served.driver.submit(0, {"w": theta}, toy_shards(0, 5), result)
            leased = [await hand.lease() for hand in hands]
            held = []
            tracemalloc.start()
            for index in range(4):
                hands[index].answer(*leased[index])
                while served.driver.status().shards_in <= index:  # noqa: ASYNC110
                    await asyncio.sleep(0)
                gc.collect()
                held.append(tracemalloc.get_traced_memory()[0])
            tracemalloc.stop()
            for hand in hands:
                await hand.close()
            return held

    held = bounded(scenario())
    assert held[3] - held[1] < 4 * SIZE


def test_a_stream_that_finishes_waits_as_long_as_its_update_moves(monkeypatch):
    """A worker's last update, in parts that each take less than patience lasts."""
    monkeypatch.setattr(grpc_link, "FINISH_TIMEOUT_S", 0.2)

    async def scenario():
        async with Served() as served:
            hand = await HandWorker().connect(served, "ada")
            hand.reader.cancel()
            theta = np.ones(SIZE, dtype=np.float32)
            result: Future = Future()
            served.driver.submit(0, {"w": theta}, toy_shards(0, 1), result)
            found = {}
            while len(found) < 2:
                message = await hand.stream.receive()
                found[type(message)] = message
            hand.answer(found[p.Lease], theta)
            finishing = asyncio.create_task(hand.stream.finish())
            decoder_of, read = hand.stream._call, hand.stream._call.read

            class Slow:
                reads = 0

                async def read(self):
                    self.reads += 1
                    if self.reads <= 6:  # three times the patience in all
                        await asyncio.sleep(0.1)
                    return await read()

                def __getattr__(self, name):
                    return getattr(decoder_of, name)

            hand.stream._call = Slow()
            hand.reader = asyncio.create_task(hand.read())
            start = asyncio.get_running_loop().time()
            done = await asyncio.wrap_future(result)
            took_s = asyncio.get_running_loop().time() - start
            await finishing
            await hand.close()
            return took_s, done

    took_s, done = bounded(scenario())
    assert took_s > 0.4
    assert done.totals.total["w"].shape == (SIZE,)


def test_held_updates_end_in_the_serial_bytes_with_more_workers_than_turns():
    async def scenario():
        async with Served() as served:
            tasks = [
                asyncio.create_task(toy_worker(GrpcLink(served.address), f"w{i}").run())
                for i in range(3)
            ]
            theta = await toy_run(served.driver, rounds=3, size=SIZE)
            served.driver.end("done")
            await asyncio.gather(*tasks)
            return theta

    assert bounded(scenario()).tobytes() == serial_result(3, SIZE).tobytes()


def test_only_what_adapts_travels():
    """Theta of a run with PEFT has the leaves of its method, not the frozen ones."""
    config = RunConfig.from_dict(
        {
            "peft": {"method": "bitfit", "keys": ["*"], "train_also": []},
            "task_distribution": {"num_train_tasks": 2, "num_val_tasks": 2},
        }
    )
    runner = ShardRunner.from_config(config)
    meta = runner.initial_meta()
    frozen = set(get_params(ShardRunner.from_config(RunConfig()).model)) - set(meta)
    assert frozen
    (head, *_) = codec.encode_down(p.Theta(0, meta))
    assert all(name.encode() in head for name in meta)
    assert not any(name.encode() in head for name in frozen)

"""A live server against callers that send anything: only their own stream ends."""

import asyncio
import dataclasses
import resource
import sys
from concurrent.futures import Future

import grpc
import grpc.aio
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from mlpeft.cluster import protocol as p
from mlpeft.cluster.protocol import LeaseKey
from mlpeft.cluster.sim import TOY_SIZE, serial_result, toy_shards, toy_step
from mlpeft.runtime.coordinator.driver import RoundFailedError
from mlpeft.runtime.coordinator.server import Server
from mlpeft.runtime.worker.grpc_link import GrpcLink
from mlpeft.transport.rpc import channel, codec, join_codec
from tests.runtime.toy import (
    VERSIONS,
    ToyRunner,
    bounded,
    toy_coordinator,
    toy_worker,
)
from tests.transport.rpc.hostile import frames

PATIENCE_S = 20
MOST_GROWTH_MIB = 64
"""A few frames in flight; the frames below announce exabytes."""
JOIN = join_codec.encode_join_request(
    join_codec.JoinRequest(1, VERSIONS.mlpeft, VERSIONS.mlx, "eve", "process")
)
CALLS = [channel.JOIN, channel.FETCH_BLOB, channel.STATUS, channel.CONTROL]


class Besieged:
    """A server with an honest worker and a round that is paused, so it stays open."""

    async def start(self):
        self.driver = toy_coordinator()
        self.server = Server(self.driver)
        self.address = await self.server.start("127.0.0.1", 0)
        self.channel = grpc.aio.insecure_channel(self.address)
        self.driver.pause("for the test")
        self.honest = asyncio.create_task(toy_worker(GrpcLink(self.address)).run())
        theta = {"w": np.ones(TOY_SIZE, dtype=np.float32)}
        self.round: Future = Future()
        self.driver.submit(0, theta, toy_shards(0), self.round)
        while not self.driver.status().workers:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0)
        self.worker_id = self.driver.status().workers[0].worker

    async def attack(self, sent):
        """One stream of a worker that joined; the status code that ends it."""
        data = await self.channel.unary_unary(channel.JOIN)(JOIN)
        worker_id = join_codec.decode_join_response(data).worker_id
        call = self.channel.stream_stream(channel.WORK)()
        hello = p.Hello(worker_id, "toy", "same view")
        try:
            for frame in [next(codec.encode_up(hello)), *sent]:
                await call.write(bytes(frame))
            await call.done_writing()
            while await call.read() is not grpc.aio.EOF:
                pass
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # it ended before all was sent
        return await call.code()

    async def call(self, method, data):
        """One call with any bytes; its status code."""
        if method != channel.FETCH_BLOB:
            return await self.channel.unary_unary(method)(data).code()
        call = self.channel.unary_stream(method)(data)
        try:
            while await call.read() is not grpc.aio.EOF:
                pass
        except grpc.aio.AioRpcError:
            pass  # its code says which
        return await call.code()

    async def survivors(self):
        """Who is connected once the enemy's stream is gone."""
        while len(self.driver.status().workers) > 1:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0)
        return [worker.worker for worker in self.driver.status().workers]

    async def finish(self):
        """Theta after the round, which the honest worker computes."""
        self.driver.resume()
        result = await asyncio.wrap_future(self.round)
        self.driver.end("done")
        await self.honest
        await self.channel.close()
        await self.server.stop(5)
        return toy_step(np.ones(TOY_SIZE, dtype=np.float32), result)


def peak_mib():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 if sys.platform == "linux" else 1024**2)


def within(runner, work):
    async def limited():
        async with asyncio.timeout(PATIENCE_S):
            return await work

    return runner.run(limited())


def test_any_frames_end_their_own_stream_and_nothing_else():
    """Garbage, spoiled updates of the open round, sizes of exabytes; then a round."""
    besieged = Besieged()
    with asyncio.Runner() as runner:
        within(runner, besieged.start())
        key = LeaseKey(besieged.driver.session, 1, 0, 1)

        @given(st.lists(frames(key), max_size=6))
        @settings(max_examples=120, deadline=None)
        def besiege(sent):
            code = within(runner, besieged.attack(sent))
            # INTERNAL is what gRPC's client says when it writes to an ended stream.
            assert code is not grpc.StatusCode.UNKNOWN
            assert within(runner, besieged.survivors()) == [besieged.worker_id]

        within(runner, besieged.attack([b"warm up"]))
        before = peak_mib()
        besiege()
        assert peak_mib() - before < MOST_GROWTH_MIB
        assert besieged.driver.status().shards_in == 0, "nothing of theirs counts"
        theta = within(runner, besieged.finish())
    assert theta.tobytes() == serial_result(1).tobytes()


def test_any_bytes_in_a_call_are_answered_or_refused():
    """UNKNOWN would be an exception that nobody expected."""
    besieged = Besieged()
    with asyncio.Runner() as runner:
        within(runner, besieged.start())

        @given(st.sampled_from(CALLS), st.one_of(st.binary(max_size=80), frames()))
        @settings(max_examples=150, deadline=None)
        def besiege(method, data):
            code = within(runner, besieged.call(method, bytes(data)))
            assert code is not grpc.StatusCode.UNKNOWN
            assert code is not grpc.StatusCode.INTERNAL

        besiege()
        theta = within(runner, besieged.finish())
    assert theta.tobytes() == serial_result(1).tobytes()


def sent(values, dtype=np.float32):
    return np.asarray(values, dtype)


LIES = {
    "no results": {"per_task": {}},
    "one too many": {"per_task": {"support_loss": sent([1, 1]), "acc": sent([1, 1])}},
    "another name": {"per_task": {"loss": sent([1, 1])}},
    "another shape": {"per_task": {"support_loss": np.zeros((2, 7, 3), np.float32)}},
    "another dtype": {"per_task": {"support_loss": sent([1, 1], np.float64)}},
    "whole numbers": {"per_task": {"support_loss": sent([1, 1], np.int32)}},
    "a negative loss": {"per_task": {"support_loss": sent([1, -1])}},
    "a loss whose mean overflows": {"per_task": {"support_loss": sent([3e38, 3e38])}},
    "a sum that overflows": {"total": {"w": np.full(TOY_SIZE, 3e38, np.float32)}},
    "strings": {"per_task": {"support_loss": sent([0x41, 0x42], np.uint8)}},
}


@pytest.mark.parametrize("lie", LIES)
def test_an_update_of_another_form_is_refused_by_name_and_computed_elsewhere(
    lie, caplog
):
    """Over a real server; the honest worker gets the round done, with its bytes."""

    def spoil(update):
        return dataclasses.replace(update, **LIES[lie])

    async def scenario():
        driver = toy_coordinator({"quarantine_after": 100})
        server = Server(driver)
        address = await server.start("127.0.0.1", 0)
        driver.pause("until both are there")
        workers = [
            asyncio.create_task(
                toy_worker(GrpcLink(address), name, runner=runner).run()
            )
            for name, runner in (("eve", ToyRunner(spoil)), ("ada", ToyRunner()))
        ]
        theta = np.ones(TOY_SIZE, dtype=np.float32)
        done: Future = Future()
        driver.submit(0, {"w": theta}, toy_shards(0), done)
        while len(driver.status().workers) < 2:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0)
        driver.resume()
        result = await asyncio.wrap_future(done)
        driver.end("done")
        await asyncio.gather(*workers)
        await server.stop(5)
        return toy_step(theta, result)

    with caplog.at_level("WARNING", "mlpeft.coordinator"):
        theta = bounded(scenario())
    assert theta.tobytes() == serial_result(1).tobytes()
    assert "by worker eve refused: its " in caplog.text
    assert "worker ada refused" not in caplog.text


class Sprung(Exception):  # noqa: N818 - of a test
    """An error of our own that a peer knows how to cause."""


def break_on(driver, event_type, times):
    """Have the machine fail half way through the first such messages of eve."""
    handle, left = driver._machine.handle, [times]

    def failing(event, now):
        commands = handle(event, now)
        message = getattr(event, "message", None)
        if isinstance(message, event_type) and left[0]:
            left[0] -= 1
            raise Sprung("boom")
        return commands

    driver._machine.handle = failing


async def round_with_a_trap(times):
    """One round of three shards; the first updates break the machine."""
    driver = toy_coordinator()
    break_on(driver, p.Update, times)
    server = Server(driver)
    address = await server.start("127.0.0.1", 0)
    worker = asyncio.create_task(toy_worker(GrpcLink(address)).run())
    theta = np.ones(TOY_SIZE, dtype=np.float32)
    done: Future = Future()
    driver.submit(0, {"w": theta}, toy_shards(0), done)
    try:
        return toy_step(theta, await asyncio.wrap_future(done))
    finally:
        driver.end("done")
        await worker
        await server.stop(5)


def test_an_error_of_our_own_ends_one_stream_and_the_round_begins_again(caplog):
    theta = bounded(round_with_a_trap(times=2))
    assert theta.tobytes() == serial_result(1).tobytes()
    assert "its Update cannot be handled: Sprung: boom" in caplog.text


def test_an_error_that_comes_again_and_again_fails_the_round_in_words():
    with pytest.raises(
        RoundFailedError, match=r"of the coordinator's own \(Sprung: boom"
    ):
        bounded(round_with_a_trap(times=100))

"""A live server against callers that send anything: only their own stream ends."""

import asyncio
import resource
import sys
from concurrent.futures import Future

import grpc
import grpc.aio
import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from mlpeft.cluster import protocol as p
from mlpeft.cluster.protocol import LeaseKey
from mlpeft.cluster.sim import TOY_SIZE, serial_result, toy_shards, toy_step
from mlpeft.runtime.coordinator.server import Server
from mlpeft.runtime.worker.grpc_link import GrpcLink
from mlpeft.transport.rpc import channel, codec, join_codec
from tests.runtime.toy import VERSIONS, toy_coordinator, toy_worker
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

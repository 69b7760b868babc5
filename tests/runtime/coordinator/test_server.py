"""The gRPC server and the workers' link, in one process over a real socket."""

import asyncio
import dataclasses

import grpc
import grpc.aio
import numpy as np
import pytest

from mlpeft.cluster import protocol as p
from mlpeft.cluster.sim import serial_result
from mlpeft.errors import MlpeftError
from mlpeft.runtime.coordinator.server import Server
from mlpeft.runtime.worker.grpc_link import GrpcLink
from mlpeft.transport.rpc import channel, codec, join_codec, status_codec
from tests.runtime.toy import VERSIONS, bounded, toy_coordinator, toy_run, toy_worker


class Served:
    """A driver behind a server on a free port."""

    async def __aenter__(self):
        self.driver = toy_coordinator()
        self.server = Server(self.driver)
        self.address = await self.server.start("127.0.0.1", 0)
        self.channel = grpc.aio.insecure_channel(self.address)
        return self

    async def __aexit__(self, *_):
        self.driver.end("done")
        await self.channel.close()
        await self.server.stop(5)

    def worker(self, **changes):
        return toy_worker(GrpcLink(self.address), **changes)

    async def join(self):
        request = join_codec.JoinRequest(
            1, VERSIONS.mlpeft, VERSIONS.mlx, "eve", "process"
        )
        data = await self.channel.unary_unary(channel.JOIN)(
            join_codec.encode_join_request(request)
        )
        return join_codec.decode_join_response(data).worker_id

    async def work(self, *frames):
        """What ends a stream on which these frames were sent."""
        call = self.channel.stream_stream(channel.WORK)()
        for frame in frames:
            await call.write(frame)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read_to_end(call)
        return caught.value.code(), caught.value.details()


async def read_to_end(call):
    while await call.read() is not grpc.aio.EOF:
        pass


def hello(worker_id, view="same view"):
    return next(codec.encode_up(p.Hello(worker_id, "toy", view)))


@pytest.mark.parametrize(("count", "size"), [(1, 16), (3, 16), (2, 600_000)])
def test_workers_over_a_socket_give_the_serial_bytes(count, size):
    """Theta in one message, and in chunks."""

    async def scenario():
        async with Served() as served:
            workers = [served.worker(name=f"w{index}") for index in range(count)]
            tasks = [asyncio.create_task(worker.run()) for worker in workers]
            theta = await toy_run(served.driver, rounds=3, size=size)
            served.driver.end("all done")
            return theta, await asyncio.gather(*tasks)

    theta, stops = bounded(scenario())
    assert theta.tobytes() == serial_result(3, size).tobytes()
    assert {(stop.reason, stop.failed) for stop in stops} == {
        ("run over: all done", False)
    }


def test_a_worker_of_another_version_is_refused_with_the_command_that_mends_it():
    async def scenario():
        async with Served() as served:
            versions = dataclasses.replace(VERSIONS, mlpeft="0.2.0")
            return await served.worker(versions=versions).run()

    stop = bounded(scenario())
    assert stop.failed
    assert "run on the worker: pip install 'mlpeft==0.1.0'" in stop.reason


def test_a_worker_that_sees_other_data_is_refused():
    async def scenario():
        async with Served() as served:
            return await served.worker(view="another").run()

    stop = bounded(scenario())
    assert stop.failed
    assert "Compare `mlpeft data verify`" in stop.reason


def test_a_stream_must_begin_with_hello_of_a_worker_that_joined():
    async def scenario():
        async with Served() as served:
            (beat,) = codec.encode_up(p.Heartbeat(()))
            return await served.work(beat), await served.work(hello("nobody"))

    first, second = bounded(scenario())
    assert first == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "the first message of a stream must be Hello",
    )
    assert second[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert "has not joined" in second[1]


@pytest.mark.parametrize("garbage", [b"\xff\xff", b"\x22\x02ab", b""])
def test_garbage_ends_only_its_own_stream(garbage):
    async def scenario():
        async with Served() as served:
            end = await served.work(hello(await served.join()), garbage)
            task = asyncio.create_task(served.worker().run())
            theta = await toy_run(served.driver, rounds=1)
            served.driver.end("done")
            await task
            return end, theta

    (code, _), theta = bounded(scenario())
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert theta.tobytes() == serial_result(1).tobytes()


def test_garbage_in_a_join_is_an_invalid_argument():
    async def scenario():
        async with Served() as served:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await served.channel.unary_unary(channel.JOIN)(b"\xff")
            return caught.value.code()

    assert bounded(scenario()) is grpc.StatusCode.INVALID_ARGUMENT


def test_the_status_can_be_asked_for():
    async def scenario():
        async with Served() as served:
            task = asyncio.create_task(served.worker().run())
            await toy_run(served.driver, rounds=2)
            data = await served.channel.unary_unary(channel.STATUS)(b"")
            served.driver.end("done")
            await task
            return status_codec.decode_overview(data)

    seen = bounded(scenario())
    assert (seen.run, seen.stopping) == ("run", False)
    assert (seen.cluster.rounds_opened, seen.cluster.version) == (2, 1)
    (worker,) = seen.cluster.workers
    assert (worker.name, worker.shards_done) == ("ada", 6)


def test_bytes_are_counted_for_each_worker_and_for_all_that_ever_were():
    """Theta of 4 bytes a number goes down once a round, an update comes up a shard."""

    async def scenario():
        async with Served() as served:
            first = asyncio.create_task(served.worker(name="ada").run())
            await toy_run(served.driver, rounds=2, size=50_000)
            alone = served.server.overview()
            served.driver.drain("ada", "enough")
            await first
            while served.driver.status().workers:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0)
            return alone, served.server.overview()

    alone, gone = bounded(scenario())
    (moved,) = alone.bytes_by_worker.values()
    assert moved == alone.bytes_moved
    assert 2 * 200_000 < moved.down < 2.1 * 200_000
    assert 6 * 200_000 < moved.up < 6.1 * 200_000
    assert gone.bytes_by_worker == {}
    assert moved.up < gone.bytes_moved.up < moved.up + 1000


def test_an_address_that_is_taken_is_named_with_what_to_do():
    async def scenario():
        async with Served() as served:
            host, _, port = served.address.rpartition(":")
            with pytest.raises(MlpeftError, match="is another coordinator running"):
                await Server(served.driver).start(host, int(port))

    bounded(scenario())


def test_a_worker_waits_for_a_coordinator_that_is_not_up_yet():
    async def scenario():
        async with Served() as served:
            await served.server.stop(0)
            worker = served.worker()
            task = asyncio.create_task(worker.run())
            host, _, port = served.address.rpartition(":")
            later = Server(served.driver)
            await later.start(host, int(port))
            theta = await toy_run(served.driver, rounds=1)
            served.driver.end("done")
            await task
            await later.stop(5)
            return theta

    assert np.array_equal(bounded(scenario()), serial_result(1))


@pytest.mark.parametrize(
    ("said", "story"),
    [((p.Draining(),), "it ended"), ((), "the connection broke")],
)
def test_only_a_worker_that_said_farewell_has_ended(said, story, caplog):
    """gRPC shows the end of both streams alike."""
    caplog.set_level("INFO", logger="mlpeft.coordinator")

    async def scenario():
        async with Served() as served:
            call = served.channel.stream_stream(channel.WORK)()
            await call.write(hello(await served.join()))
            for message in said:
                await call.write(next(codec.encode_up(message)))
            await call.done_writing()
            await read_to_end(call)

    bounded(scenario())
    assert f"worker eve left: {story}" in caplog.text

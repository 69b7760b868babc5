"""One request or one answer of each method is lost, and the run ends in its bytes.

The server drops the first call of a method before its handler hears of it, or what the
handler answers; the caller sees a connection that broke. Workers call again by
themselves, people type the command again. `CASES` holds one case a method of the
contract; a new method without a case fails.
"""

import asyncio
import functools
import hashlib

import grpc
import grpc.aio
import pytest

from mlpeft.cluster.sim import serial_result
from mlpeft.errors import MlpeftError
from mlpeft.runtime.client import ask
from mlpeft.runtime.compute import Prepared
from mlpeft.runtime.coordinator.driver import CoordinatorDriver
from mlpeft.runtime.coordinator.server import Server
from mlpeft.runtime.worker.grpc_link import GrpcLink
from mlpeft.transport.blobs.asset_fetcher import AssetFetcher
from mlpeft.transport.blobs.cache import BlobCache
from mlpeft.transport.blobs.manifest import OfferedAsset
from mlpeft.transport.blobs.offer import Blob, Offer
from mlpeft.transport.rpc import channel, control_codec, status_codec
from tests.runtime.coordinator.test_secure_server import Secured
from tests.runtime.coordinator.test_twice import METHODS
from tests.runtime.toy import (
    CONFIG,
    VERSIONS,
    ToyRunner,
    bounded,
    toy_coordinator,
    toy_run,
    toy_worker,
)

ROUNDS = 3
LOSSES = ["request", "answer"]


class Losing(grpc.aio.ServerInterceptor):
    """Loses one call of a method, and counts all of them."""

    def __init__(self, method, loss):
        self._method = method
        self._loss = loss
        self.calls = 0

    async def intercept_service(self, continuation, details):
        handler = await continuation(details)
        if details.method != self._method:
            return handler
        self.calls += 1
        if self.calls > 1:
            return handler
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(
                functools.partial(self._lose_stream, handler.stream_stream)
            )
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                functools.partial(self._lose_stream, handler.unary_stream)
            )
        return grpc.unary_unary_rpc_method_handler(
            functools.partial(self._lose, handler.unary_unary)
        )

    async def _lose(self, serve, request, context):
        if self._loss == "answer":
            await serve(request, context)
        await broken(context)

    async def _lose_stream(self, serve, request, context):
        if self._loss == "answer":
            await serve(request, Mute(context))
        else:
            await broken(context)


class Mute:
    """A call's context whose first answer breaks the connection."""

    def __init__(self, context):
        self._context = context

    def __getattr__(self, name):
        return getattr(self._context, name)

    async def write(self, _frame):
        await broken(self._context)


async def broken(context):
    """What a caller sees whose connection broke."""
    await context.abort(grpc.StatusCode.UNAVAILABLE, "lost")


@pytest.fixture
def losing(monkeypatch):
    """Let servers lose one call of a method; what counts the calls."""
    make = grpc.aio.server

    def lose(method, loss):
        interceptor = Losing(method, loss)
        monkeypatch.setattr(
            grpc.aio, "server", functools.partial(make, interceptors=[interceptor])
        )
        return interceptor

    return lose


class Served:
    """A coordinator on loopback, in the clear."""

    def __init__(self, driver):
        self.driver = driver

    async def __aenter__(self):
        self.server = Server(self.driver)
        self.address = await self.server.start("127.0.0.1", 0)
        return self

    async def __aexit__(self, *_):
        self.driver.end("done")
        await self.server.stop(5)


async def trained(driver, worker):
    """Run to the end with one worker; the bytes of theta."""
    working = asyncio.create_task(worker.run())
    theta = await toy_run(driver, ROUNDS)
    driver.end("done")
    assert not (await working).failed
    return theta.tobytes()


async def of_a_worker(folder):
    """Join and Work: nobody does anything about it."""
    async with Served(toy_coordinator()) as served:
        return await trained(served.driver, toy_worker(GrpcLink(served.address)))


async def of_a_file(folder):
    """FetchBlob: the worker fetches again, and what it gets is whole."""
    content = bytes(range(256)) * 9000
    digest = hashlib.sha256(content).hexdigest()
    path = folder / "omniglot.npz"
    path.write_bytes(content)
    modified_ns = path.stat().st_mtime_ns
    offer = Offer(
        (OfferedAsset("omniglot.npz", digest, len(content)),),
        {digest: Blob("omniglot.npz", len(content), path, modified_ns=modified_ns)},
    )
    config = CONFIG.with_changes(
        task_distribution={"task_families": ["omniglot"]},
        paths={"data_dir": str(folder / "none")},
    )
    cache = BlobCache(folder / "cache", 10**8)
    async with Served(
        CoordinatorDriver(config, "same view", VERSIONS, offer)
    ) as served:
        worker = toy_worker(
            GrpcLink(served.address),
            prepare=lambda _: Prepared(ToyRunner(), "toy", "same view"),
            fetch_assets=AssetFetcher(cache).fetch_assets,
        )
        theta = await trained(served.driver, worker)
    assert (folder / "cache" / "blobs" / digest).read_bytes() == content
    cache.release()
    return theta


async def of_somebody_who_looks(folder):
    """Status: the command says that nobody answers; typed again, it shows the run."""
    async with Served(toy_coordinator()) as served:
        look = functools.partial(ask, served.address, None, channel.STATUS, b"")
        with pytest.raises(MlpeftError, match="no coordinator answers"):
            await asyncio.to_thread(look)
        seen = status_codec.decode_overview(await asyncio.to_thread(look))
        assert seen.run == "run"
        return await trained(served.driver, toy_worker(GrpcLink(served.address)))


async def of_an_operator(folder):
    """Control: paused once, however often it was asked for; one resume is enough."""
    async with Served(toy_coordinator()) as served:
        pause, resume = (
            functools.partial(
                ask,
                served.address,
                None,
                channel.CONTROL,
                control_codec.encode_request(control_codec.ControlRequest(action, "")),
            )
            for action in (control_codec.Action.PAUSE, control_codec.Action.RESUME)
        )
        with pytest.raises(MlpeftError, match="no coordinator answers"):
            await asyncio.to_thread(pause)
        await asyncio.to_thread(pause)
        assert served.driver.status().paused
        await asyncio.to_thread(resume)
        return await trained(served.driver, toy_worker(GrpcLink(served.address)))


async def of_one_who_joins(folder):
    """Authority and Enrol: `join` again, and the worker takes part under TLS."""
    async with Secured(folder) as served:
        with pytest.raises(MlpeftError, match="no coordinator takes joins"):
            await served.join()
        held = await served.join()
        names = {record.name for record in served.authority.workers()}
        assert names == {"ada"}
        return await trained(served.driver, served.worker(held))


CASES = {
    channel.JOIN: of_a_worker,
    channel.WORK: of_a_worker,
    channel.FETCH_BLOB: of_a_file,
    channel.STATUS: of_somebody_who_looks,
    channel.CONTROL: of_an_operator,
    channel.AUTHORITY: of_one_who_joins,
    channel.ENROL: of_one_who_joins,
}


def test_every_method_of_the_contract_has_a_case():
    assert sorted(CASES) == METHODS


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("method", METHODS)
def test_a_run_survives_the_loss_of_one(method, loss, losing, tmp_path):
    interceptor = losing(method, loss)
    theta = bounded(CASES[method](tmp_path))
    assert theta == serial_result(ROUNDS).tobytes()
    assert interceptor.calls >= 2, "it was lost, and called again"

"""Every rpc handler called twice: repeated, raced, or because an answer was lost.

A client whose request or answer is lost calls again, sometimes while the first call is
still served. Whatever it repeats must be done once. `CASES` holds one case a method of
the contract; a new method without a case fails.
"""

import asyncio

import grpc
import grpc.aio
import pytest

from mlpeft.cluster import protocol as p
from mlpeft.cluster.sim import serial_result, toy_update
from mlpeft.runtime.coordinator.enrolment import EnrolmentServer
from mlpeft.runtime.coordinator.server import Server
from mlpeft.runtime.worker.grpc_link import GrpcLink
from mlpeft.transport.rpc import (
    channel,
    cluster_pb2,
    codec,
    control_codec,
    credentials,
    enrolment_codec,
    join_codec,
    status_codec,
)
from mlpeft.transport.security import certificates
from mlpeft.transport.security.authority import Authority
from tests.coordinator.test_fetch import CONTENT, DIGEST
from tests.coordinator.test_fetch import Served as Offering
from tests.runtime.toy import VERSIONS, bounded, toy_coordinator, toy_run, toy_worker

SERVICES = cluster_pb2.DESCRIPTOR.services_by_name
METHODS = sorted(
    f"/{service.full_name}/{method.name}"
    for service in SERVICES.values()
    for method in service.methods
)
LOSSES = ["answered twice", "given up at once", "retried while running"]


JOIN = join_codec.encode_join_request(
    join_codec.JoinRequest(1, VERSIONS.mlpeft, VERSIONS.mlx, "ada", "process")
)


async def repeated(call, request, loss):
    """The last answer that a caller gets who makes a call more than once."""
    match loss:
        case "answered twice":
            await call(request)
            return await call(request)
        case "given up at once":
            call(request).cancel()
            return await call(request)
        case "retried while running":
            return (await asyncio.gather(*(call(request) for _ in range(3))))[-1]
    raise AssertionError(loss)


class Served:
    """A coordinator on loopback, for any caller."""

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

    async def repeated(self, method, request, loss):
        return await repeated(self.channel.unary_unary(method), request, loss)

    async def train(self):
        """A worker computes a round; who is connected then."""
        worker = asyncio.create_task(toy_worker(GrpcLink(self.address)).run())
        theta = await toy_run(self.driver, rounds=1)
        assert theta.tobytes() == serial_result(1).tobytes()
        names = [worker.name for worker in self.driver.status().workers]
        self.driver.end("done")
        await worker
        return names


async def joining(loss, folder):
    """Joins whose stream never opens are no workers; each answer lets one in."""
    async with Served() as served:
        data = await served.repeated(channel.JOIN, JOIN, loss)
        assert served.driver.status().workers == ()
        worker_id = join_codec.decode_join_response(data).worker_id
        call = served.channel.stream_stream(channel.WORK)()
        hello = p.Hello(worker_id, "toy", "same view")
        await call.write(next(codec.encode_up(hello)))
        await call.read()
        assert [w.name for w in served.driver.status().workers] == ["ada"]


async def asking_for_the_status(loss, folder):
    """It changes nothing."""
    async with Served() as served:
        data = await served.repeated(channel.STATUS, b"", loss)
        seen = status_codec.decode_overview(data)
        assert (seen.run, seen.cluster.rounds_opened) == ("run", 0)
        assert seen.cluster.workers == ()
        assert await served.train() == ["ada"]


async def steering(loss, folder):
    """Paused once: one resume is enough."""
    async with Served() as served:
        for action in (control_codec.Action.PAUSE, control_codec.Action.RESUME):
            request = control_codec.encode_request(
                control_codec.ControlRequest(action, "")
            )
            await served.repeated(channel.CONTROL, request, loss)
        assert await served.train() == ["ada"]


async def fetching(loss, folder):
    """All bytes each time, also for those who fetch at once."""
    async with Offering(folder) as served:

        def fetch(sha256):
            return asyncio.ensure_future(served.fetch(sha256))

        assert b"".join(await repeated(fetch, DIGEST, loss)) == CONTENT


async def asking_for_the_authority(loss, folder):
    """The same certificate each time."""
    async with Enrolling(folder) as served:
        data = await served.repeated(channel.AUTHORITY, b"", loss)
        found = enrolment_codec.decode_authority(data)
        assert found == served.authority.ca_certificate


async def enrolling(loss, folder):
    """The same key gets a certificate under the same name, as often as it asks."""
    async with Enrolling(folder) as served:
        key = certificates.new_key()
        request = enrolment_codec.encode_request(
            enrolment_codec.EnrolRequest(
                served.token.secret, "ada", certificates.new_request(key, "ada")
            )
        )
        data = await served.repeated(channel.ENROL, request, loss)
        issued = enrolment_codec.decode_response(data).certificate
        assert certificates.read(issued).name == "ada"
        assert {worker.name for worker in served.authority.workers()} == {"ada"}


class Enrolling:
    """A coordinator's port for joins."""

    def __init__(self, folder):
        self.authority = Authority.create(folder / "ca", ["127.0.0.1"])

    async def __aenter__(self):
        self.server = EnrolmentServer(self.authority)
        address = await self.server.start("127.0.0.1", 0, 1)
        self.token = self.authority.new_token(address)
        trusted = grpc.ssl_channel_credentials(self.authority.ca_certificate)
        self.channel = grpc.aio.secure_channel(
            address, trusted, credentials._tls_options(address)
        )
        return self

    async def __aexit__(self, *_):
        await self.channel.close()
        await self.server.stop()

    async def repeated(self, method, request, loss):
        return await repeated(self.channel.unary_unary(method), request, loss)


async def working(loss, folder):
    """Every message of a stream twice; a stream again; a second stream at once."""
    async with Served() as served:
        worker = Stutterer(GrpcLink(served.address))
        await worker.connect()
        task = asyncio.create_task(worker.run())
        match loss:
            case "given up at once":
                worker.stream.close()
                task.cancel()
                await worker.connect()
                task = asyncio.create_task(worker.run())
            case "retried while running":
                call = served.channel.stream_stream(channel.WORK)()
                await call.write(next(codec.encode_up(worker.hello)))
                with pytest.raises(grpc.aio.AioRpcError, match="has a stream"):
                    await call.read()
        theta = await toy_run(served.driver, rounds=2)
        assert theta.tobytes() == serial_result(2).tobytes()
        (seen,) = served.driver.status().workers
        assert (seen.shards_done, seen.failures, seen.draining) == (6, 1, False)
        worker.say(p.Draining())
        served.driver.end("done")
        await task


class Stutterer:
    """A worker that says everything twice, and fails at its first shard."""

    def __init__(self, link):
        self._link = link
        self._failed = False

    async def connect(self):
        response = await self._link.join(join_codec.decode_join_request(JOIN))
        self.hello = p.Hello(response.worker_id, "toy", "same view")
        self.stream = await self._link.open(self.hello)
        assert isinstance(await self.stream.receive(), p.Welcome)

    def say(self, message):
        for _ in range(2):
            self.stream.send(message)

    async def run(self):
        thetas, leases = {}, []
        while (message := await self.stream.receive()) is not None:
            self.say(p.Heartbeat(()))
            match message:
                case p.Theta(version, meta):
                    thetas[version] = meta["w"]
                case p.Lease() as lease:  # it may overtake its theta
                    leases.append(lease)
                case p.RunOver():
                    break
            while leases and leases[0].version in thetas:
                self._answer(leases.pop(0), thetas)
        await self._link.close()

    def _answer(self, lease, thetas):
        if self._failed:
            update = toy_update(thetas[lease.version], lease.shard)
            self.say(p.Update(lease.key, lease.version, update))
        else:
            self._failed = True
            self.say(p.LeaseReturn(lease.key, True, "out of luck"))


CASES = {
    channel.JOIN: joining,
    channel.WORK: working,
    channel.STATUS: asking_for_the_status,
    channel.CONTROL: steering,
    channel.FETCH_BLOB: fetching,
    channel.AUTHORITY: asking_for_the_authority,
    channel.ENROL: enrolling,
}


def test_every_method_of_the_contract_has_a_case():
    assert sorted(CASES) == METHODS


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("method", METHODS)
def test_a_call_that_is_repeated_is_done_once(method, loss, tmp_path):
    bounded(CASES[method](loss, tmp_path))

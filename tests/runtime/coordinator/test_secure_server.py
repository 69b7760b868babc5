"""Joins, certificates and refusals over real sockets, in one process."""

import asyncio
import dataclasses
import logging

import grpc
import grpc.aio
import pytest

from mlpeft.cluster.sim import serial_result
from mlpeft.errors import MlpeftError
from mlpeft.runtime.coordinator.admission import Caller
from mlpeft.runtime.coordinator.enrolment import EnrolmentServer, RateLimit
from mlpeft.runtime.coordinator.server import Server
from mlpeft.runtime.worker.enrol import enrol
from mlpeft.runtime.worker.grpc_link import GrpcLink
from mlpeft.transport.rpc import channel, credentials, enrolment_codec, status_codec
from mlpeft.transport.security import certificates, identity
from mlpeft.transport.security.authority import Authority
from mlpeft.transport.security.folders import SecurityError
from tests.runtime.toy import bounded, toy_coordinator, toy_run, toy_worker


class Secured:
    """A driver behind TLS, with a port for joins."""

    def __init__(self, folder, limit=None):
        self.folder = folder
        self.authority = Authority.create(folder / "ca", ["127.0.0.1"])
        self.limit = limit

    async def __aenter__(self):
        self.driver = toy_coordinator()
        self.server = Server(self.driver, self.authority)
        self.address = await self.server.start("127.0.0.1", 0)
        port = int(self.address.rpartition(":")[2])
        self.joins = EnrolmentServer(self.authority, self.limit)
        self.join_address = await self.joins.start("127.0.0.1", 0, port)
        self.token = self.authority.new_token(self.join_address)
        return self

    async def __aexit__(self, *_):
        self.driver.end("done")
        await self.joins.stop()
        await self.server.stop(5)

    async def join(self, name="ada", token=None, folder=None):
        """As `mlpeft-worker join` does."""
        place = folder or self.folder / name
        return await asyncio.to_thread(enrol, token or self.token, place, name)

    def worker(self, held, name="ada"):
        return toy_worker(GrpcLink(self.address, held), name=name)


async def ask_status(address, held):
    async with credentials.worker_channel(address, held) as connection:
        return await connection.unary_unary(channel.STATUS)(b"", timeout=10)


def test_a_worker_that_joined_gives_the_serial_bytes(tmp_path):
    """Theta in one message and in chunks, under certificates on both sides."""

    async def scenario(size):
        async with Secured(tmp_path / str(size)) as served:
            held = await served.join()
            assert held.address == served.address
            task = asyncio.create_task(served.worker(held).run())
            theta = await toy_run(served.driver, rounds=2, size=size)
            seen = status_codec.decode_overview(await ask_status(served.address, held))
            served.driver.end("done")
            await task
            return theta, [worker.name for worker in seen.cluster.workers]

    for size in (16, 600_000):
        theta, names = bounded(scenario(size))
        assert theta.tobytes() == serial_result(2, size).tobytes()
        assert names == ["ada"]


def test_a_worker_is_always_called_by_the_name_in_its_certificate(tmp_path, caplog):
    async def scenario():
        async with Secured(tmp_path) as served:
            held = await served.join()
            task = asyncio.create_task(served.worker(held, name="bob").run())
            await toy_run(served.driver, rounds=1)
            workers = served.driver.status().workers
            served.driver.end("done")
            await task
            return [worker.name for worker in workers]

    assert bounded(scenario()) == ["ada/bob"]


def test_a_name_that_could_forge_log_lines_is_left_out():
    caller = Caller("ada", "1f")
    assert caller.worker_name("ada\n12:00:00 worker bob joined") == "ada"
    assert caller.worker_name("\x1b[2J") == "ada"


def test_the_private_key_does_not_travel(tmp_path, monkeypatch):
    """All that the worker says while it joins, searched for its key."""
    said = []
    real = enrolment_codec.encode_request

    def listen(request):
        said.append(real(request))
        return said[-1]

    monkeypatch.setattr(enrolment_codec, "encode_request", listen)

    async def scenario():
        async with Secured(tmp_path) as served:
            return await served.join()

    held = bounded(scenario())
    (sent,) = said
    assert b"CERTIFICATE REQUEST" in sent
    assert b"PRIVATE" not in sent
    assert held.key.splitlines()[1] not in sent


def test_a_wrong_token_is_refused_on_both_sides(tmp_path, caplog):
    async def scenario():
        async with Secured(tmp_path) as served:
            wrong = dataclasses.replace(served.token, secret="0" * 32)
            with pytest.raises(MlpeftError, match="unknown or has expired"):
                await served.join(token=wrong)
            return served.authority.workers()

    with caplog.at_level(logging.WARNING, "mlpeft.coordinator"):
        logging.getLogger("mlpeft").propagate = True
        assert bounded(scenario()) == ()
    assert "refused a join from ipv4:127.0.0.1" in caplog.text
    assert not identity.exists(tmp_path / "ada")


def test_another_coordinator_gets_no_secret(tmp_path, monkeypatch):
    """It answers at the token's address, with a CA of its own."""
    monkeypatch.setattr(
        Authority, "enrol", lambda *_: pytest.fail("the secret was sent")
    )

    async def scenario():
        async with (
            Secured(tmp_path / "other") as other,
            Secured(tmp_path / "ours") as us,
        ):
            token = dataclasses.replace(us.token, address=other.join_address)
            with pytest.raises(SecurityError, match="another fingerprint"):
                await other.join(token=token)

    bounded(scenario())


def test_a_ca_beside_the_right_one_gets_no_secret(tmp_path, monkeypatch):
    """The impostor hands out the true CA's certificate, which is public, and its own.

    Only the first is checked; if both were trusted, so would be the impostor.
    """
    monkeypatch.setattr(
        Authority, "enrol", lambda *_: pytest.fail("the secret was sent")
    )
    ours = Authority.create(tmp_path / "ours", ["127.0.0.1"])

    async def both(self, data, context):
        return enrolment_codec.encode_authority(
            ours.ca_certificate + self._authority.ca_certificate
        )

    monkeypatch.setattr(EnrolmentServer, "_ca", both)

    async def scenario():
        async with Secured(tmp_path / "impostor") as impostor:
            token = ours.new_token(impostor.join_address)
            with pytest.raises(SecurityError, match="did not sign"):
                await impostor.join(token=token)

    bounded(scenario())


def test_too_many_joins_are_turned_away_for_a_while(tmp_path):
    async def scenario():
        limit = RateLimit(burst=2, every_s=1000, total_burst=20)
        async with Secured(tmp_path, limit) as served:
            wrong = dataclasses.replace(served.token, secret="0" * 32)
            for _ in range(2):
                with pytest.raises(MlpeftError, match="unknown"):
                    await served.join(token=wrong)
            with pytest.raises(MlpeftError, match="too many joins; try again in"):
                await served.join()

    bounded(scenario())


def test_a_large_message_is_refused_before_it_is_read(tmp_path):
    async def scenario():
        async with Secured(tmp_path) as served:
            ca = served.authority.ca_certificate

            def send():
                with credentials.join_channel(served.join_address, ca) as connection:
                    connection.unary_unary(channel.ENROL)(b"x" * 20_000, timeout=10)

            with pytest.raises(grpc.RpcError) as caught:
                await asyncio.to_thread(send)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    bounded(scenario())


def test_the_port_for_joins_serves_nothing_else(tmp_path):
    async def scenario():
        async with Secured(tmp_path) as served:
            ca = served.authority.ca_certificate

            def ask():
                with credentials.join_channel(served.join_address, ca) as connection:
                    connection.unary_unary(channel.STATUS)(b"", timeout=10)

            with pytest.raises(grpc.RpcError) as caught:
                await asyncio.to_thread(ask)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

    bounded(scenario())


def test_a_revoked_worker_is_cut_off_at_once_and_stays_out(tmp_path):
    """In the middle of its stream; what it sends afterwards counts for nothing."""

    async def scenario():
        async with Secured(tmp_path) as served:
            held = await served.join()
            task = asyncio.create_task(served.worker(held).run())
            await toy_run(served.driver, rounds=1)
            Authority(served.authority.folder).revoke("ada")
            first = await task
            again = await served.worker(held).run()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask_status(served.address, held)
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
            return first, again, served.driver.status().workers

    first, again, workers = bounded(scenario())
    assert first.failed
    assert again.failed
    assert "the certificate of ada was revoked" in first.reason
    assert "the certificate of ada was revoked" in again.reason
    assert workers == ()


def test_a_certificate_that_the_ca_signed_but_did_not_list_is_refused(tmp_path):
    async def scenario():
        async with Secured(tmp_path) as served:
            held = await served.join()
            path = served.authority.folder / "registry.json"
            path.unlink()
            served.authority._registry.create()
            return await served.worker(held).run()

    stop = bounded(scenario())
    assert "not on the coordinator's list" in stop.reason


def test_a_worker_in_the_clear_is_told_to_join(tmp_path):
    async def scenario():
        async with Secured(tmp_path) as served:
            return await served.worker(None).run()

    stop = bounded(scenario())
    assert stop.failed
    assert "requires TLS and a certificate" in stop.reason
    assert "mlpeft-worker join TOKEN" in stop.reason


def test_a_worker_of_another_cluster_is_told_so(tmp_path):
    async def scenario():
        async with Secured(tmp_path / "a") as one, Secured(tmp_path / "b") as other:
            held = await other.join()
            return await one.worker(held).run()

    stop = bounded(scenario())
    assert stop.failed
    assert "is not the one that this machine joined" in stop.reason


def test_a_certificate_of_another_ca_is_refused_with_what_to_do(tmp_path):
    """It knows the coordinator's CA, but shows what another one signed."""

    async def scenario():
        async with Secured(tmp_path / "a") as one, Secured(tmp_path / "b") as other:
            held = await other.join()
            mixed = identity.save(
                held.folder, one.address, held.certificate, one.authority.ca_certificate
            )
            return await one.worker(mixed).run()

    stop = bounded(scenario())
    assert stop.failed
    assert "refused the certificate in" in stop.reason


def test_a_worker_with_a_certificate_is_told_of_a_coordinator_in_the_clear(tmp_path):
    async def scenario():
        async with Secured(tmp_path) as served:
            held = await served.join()
            plain = Server(served.driver)
            address = await plain.start("127.0.0.1", 0)
            stop = await toy_worker(GrpcLink(address, held)).run()
            await plain.stop(0)
            return stop

    stop = bounded(scenario())
    assert stop.failed
    assert "does not speak TLS" in stop.reason


def test_a_worker_cannot_pose_as_the_coordinator(tmp_path):
    """With its own certificate as a server's, signed by the right CA."""

    async def scenario():
        async with Secured(tmp_path) as served:
            held = await served.join()
            server = grpc.aio.server()
            port = server.add_secure_port(
                "127.0.0.1:0",
                grpc.ssl_server_credentials([(held.key, held.certificate)]),
            )
            await server.start()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask_status(f"127.0.0.1:{port}", held)
            await server.stop(0)
            return caught.value.code()

    assert bounded(scenario()) is grpc.StatusCode.UNAVAILABLE


def test_joining_again_keeps_the_key_and_renews_the_certificate(tmp_path):
    async def scenario():
        async with Secured(tmp_path) as served:
            return await served.join(), await served.join()

    first, second = bounded(scenario())
    assert first.key == second.key
    assert first.certificate != second.certificate
    assert certificates.read(second.certificate).name == "ada"


def test_nobody_at_the_tokens_address_is_named_with_what_to_do(tmp_path):
    authority = Authority.create(tmp_path / "ca", ["127.0.0.1"])
    token = authority.new_token("127.0.0.1:9")
    with pytest.raises(MlpeftError, match=r"takes joins at 127\.0\.0\.1:9.*--address"):
        enrol(token, tmp_path / "worker", "ada")

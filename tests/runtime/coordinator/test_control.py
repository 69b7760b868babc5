"""Who may steer a coordinator, and what happens then."""

import asyncio

import grpc
import grpc.aio
import pytest

from mlpeft.cluster.sim import serial_result
from mlpeft.runtime.coordinator.enrolment import EnrolmentServer
from mlpeft.runtime.coordinator.server import Server
from mlpeft.runtime.worker.enrol import enrol
from mlpeft.runtime.worker.grpc_link import GrpcLink
from mlpeft.transport.rpc import channel, control_codec, credentials
from mlpeft.transport.rpc.control_codec import Action, ControlRequest
from mlpeft.transport.security import operator
from mlpeft.transport.security.authority import Authority
from mlpeft.transport.security.registry import OPERATOR
from tests.runtime.toy import bounded, toy_coordinator, toy_run, toy_worker


class Steered:
    """A driver behind a server, and a caller."""

    def __init__(self, authority=None):
        self.authority = authority

    async def __aenter__(self):
        self.driver = toy_coordinator()
        self.server = Server(self.driver, self.authority)
        self.address = await self.server.start("127.0.0.1", 0)
        return self

    async def __aexit__(self, *_):
        self.driver.end("done")
        await self.server.stop(5)

    async def ask(self, action, worker="", shown=None):
        question = control_codec.encode_request(ControlRequest(action, worker))
        return control_codec.decode_response(await self.send(question, shown))

    async def send(self, question, shown=None):
        async with credentials.worker_channel(self.address, shown) as connection:
            return await connection.unary_unary(channel.CONTROL)(question, timeout=10)

    async def until(self, condition):
        """Let the loop run until the status is so."""
        while not condition(self.driver.status()):  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0)

    def worker(self, name):
        return asyncio.create_task(toy_worker(GrpcLink(self.address), name=name).run())


async def refusal(call):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code(), refused.value.details()


def test_while_paused_nothing_is_computed_and_afterwards_the_bytes_are_the_same():
    async def scenario():
        async with Steered() as steered:
            steered.worker("ada")
            await steered.until(lambda status: status.workers)
            said = [await steered.ask(Action.PAUSE), await steered.ask(Action.PAUSE)]
            run = asyncio.create_task(toy_run(steered.driver, rounds=2))
            await steered.until(lambda status: status.shards)
            paused = steered.driver.status()
            said.append(await steered.ask(Action.RESUME))
            said.append(await steered.ask(Action.RESUME))
            return said, paused, await run

    said, paused, theta = bounded(scenario())
    assert said[0] == said[1]
    assert said[0].startswith("paused: ")
    assert said[2] == said[3] == "resumed: shards are leased again"
    assert paused.paused == "by a user"
    assert paused.leases == ()
    assert theta.tobytes() == serial_result(2).tobytes()


def test_a_worker_that_is_drained_ends_and_the_others_go_on():
    async def scenario():
        async with Steered() as steered:
            ada, _ = steered.worker("ada"), steered.worker("bob")
            await steered.until(lambda status: len(status.workers) == 2)
            said = await steered.ask(Action.DRAIN, "ada")
            stop = await ada
            await steered.until(lambda status: len(status.workers) == 1)
            theta = await toy_run(steered.driver, rounds=2)
            again = await refusal(steered.ask(Action.DRAIN, "ada"))
            return said, stop, theta, again

    said, stop, theta, again = bounded(scenario())
    assert said == "ada finishes its shard and ends"
    assert not stop.failed
    assert "by a user" in stop.reason
    assert theta.tobytes() == serial_result(2).tobytes()
    assert again[0] is grpc.StatusCode.NOT_FOUND
    assert "no worker 'ada' is connected; connected: bob" in again[1]


def test_a_worker_is_released_by_name():
    async def scenario():
        async with Steered() as steered:
            steered.worker("ada")
            await steered.until(lambda status: status.workers)
            said = await steered.ask(Action.RELEASE, "ada")
            return said, await refusal(steered.ask(Action.RELEASE, "eve"))

    said, unknown = bounded(scenario())
    assert said == "ada gets shards again"
    assert unknown[0] is grpc.StatusCode.NOT_FOUND


def test_asked_to_stop_it_says_so_and_goes_on_if_it_was_paused():
    """A paused round would never end, and the run would wait for it."""

    async def scenario():
        async with Steered() as steered:
            await steered.ask(Action.PAUSE)
            before = steered.driver.stopping
            said = {await steered.ask(Action.STOP), await steered.ask(Action.STOP)}
            driver = steered.driver
            return before, said, driver.stopping, driver.status().paused

    before, said, stopping, paused = bounded(scenario())
    assert (before, stopping, paused) == (False, True, "")
    (text,) = said
    assert text.startswith("run run is saved and ends after this round; ")


def test_an_action_that_there_is_not_is_refused():
    async def scenario():
        async with Steered() as steered:
            unknown = control_codec.encode_request(ControlRequest(Action.PAUSE))
            unknown = unknown.replace(b"pause", b"dance")
            return [await refusal(steered.send(sent)) for sent in (unknown, b"\xff")]

    (code, text), (garbled, _) = bounded(scenario())
    assert code is garbled is grpc.StatusCode.INVALID_ARGUMENT
    assert "there is no action 'dance'; there are: drain, pause" in text


def test_under_tls_only_operators_steer(tmp_path):
    """The head node's certificate, and one from an operator's token; no worker's."""

    async def scenario():
        authority = Authority.create(tmp_path / "ca", ["127.0.0.1"])
        async with Steered(authority) as steered:
            joins = EnrolmentServer(authority)
            port = int(steered.address.rpartition(":")[2])
            address = await joins.start("127.0.0.1", 0, port)

            async def join(name, **token):
                made = authority.new_token(address, **token)
                return await asyncio.to_thread(enrol, made, tmp_path / name, name)

            worker, lead = await join("ada"), await join("bob", role=OPERATOR)
            head = operator.renew(authority, steered.address)
            refused = await refusal(steered.ask(Action.PAUSE, shown=worker))
            untouched = steered.driver.status().paused
            await steered.ask(Action.PAUSE, shown=lead)
            paused = steered.driver.status().paused
            await steered.ask(Action.RESUME, shown=head)
            resumed = steered.driver.status().paused
            authority.revoke("bob")
            out = await refusal(steered.ask(Action.PAUSE, shown=lead))
            await joins.stop()
            return refused, untouched, paused, resumed, out

    refused, untouched, paused, resumed, out = bounded(scenario())
    assert refused[0] is out[0] is grpc.StatusCode.PERMISSION_DENIED
    assert "certificate of ada is a worker's" in refused[1]
    assert "token --operator" in refused[1]
    assert "bob was revoked" in out[1]
    assert (untouched, paused, resumed) == ("", "by bob", "")

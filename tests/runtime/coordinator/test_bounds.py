"""What peers say is kept, logged and shown: it has a largest size and rate."""

import asyncio
import threading

import pytest

from mlpeft.cluster import protocol as p
from mlpeft.cluster.coordinator import messages as cm
from mlpeft.cluster.coordinator.membership import MOST_EXPECTED
from mlpeft.cluster.coordinator.quarantine import MOST_SUSPECTS, Quarantine
from mlpeft.errors import MlpeftError, RemoteProtocolError
from mlpeft.runtime.client import ask
from mlpeft.runtime.coordinator.joins import MOST_JOINS_EACH
from mlpeft.runtime.coordinator.message_rate import BURST, HeartbeatRate
from mlpeft.runtime.coordinator.server import GrpcPeer, Server
from mlpeft.transport.rpc import channel, codec, control_codec, join_codec, status_codec
from mlpeft.transport.rpc.control_codec import Action, ControlRequest
from mlpeft.transport.rpc.outbox import Traffic
from tests.cluster.builders import Machine, key, policy_with
from tests.runtime.toy import VERSIONS, bounded, toy_coordinator

LONG = "x" * 4000


def request(name="ada", process_id="p"):
    return join_codec.JoinRequest(1, VERSIONS.mlpeft, VERSIONS.mlx, name, process_id)


def received(message):
    """A worker's message after its way over the wire."""
    (frame,) = codec.encode_up(message)
    return codec.UpDecoder(lambda: 0).feed(frame)


def test_texts_for_people_are_cut():
    joined = join_codec.decode_join_request(
        join_codec.encode_join_request(request(LONG))
    )
    assert joined.name == "x" * 60 + "..."
    assert len(received(p.Hello("id", LONG, "view")).device) == 200
    assert len(received(p.LeaseReturn(key(0), True, LONG)).reason) == 200
    asked = control_codec.decode_request(
        control_codec.encode_request(ControlRequest(Action.DRAIN, LONG))
    )
    assert len(asked.worker) == 200


@pytest.mark.parametrize(
    "message",
    [
        p.Hello(LONG, "cpu", "view"),
        p.Hello("id", "cpu", LONG),
        p.LeaseReturn(key(0, session=LONG), True, "no memory"),
        p.Heartbeat(((key(0, session=LONG), 1),)),
        p.Heartbeat(tuple((key(shard), 1) for shard in range(257))),
    ],
)
def test_what_must_not_be_cut_is_refused(message):
    with pytest.raises(RemoteProtocolError, match="expected at most"):
        received(message)


def test_a_request_of_megabytes_is_refused_before_it_is_read():
    data = join_codec.encode_join_request(request("x" * (4 << 20)))
    with pytest.raises(RemoteProtocolError, match="JoinRequest of 4194"):
        join_codec.decode_join_request(data)
    with pytest.raises(RemoteProtocolError, match="a process id has 4000 characters"):
        join_codec.decode_join_request(
            join_codec.encode_join_request(request(process_id=LONG))
        )


def test_an_identity_forgets_its_own_oldest_joins_and_nobody_elses():
    async def scenario():
        driver = toy_coordinator()
        honest = driver.joins.join(request(), "ada").worker_id
        flood = [
            driver.joins.join(request(process_id=str(number)), "eve").worker_id
            for number in range(MOST_JOINS_EACH + 1)
        ]
        assert driver.joins.take(p.Hello(honest, "cpu", "same view"))
        assert driver.joins.take(p.Hello(flood[1], "cpu", "same view"))
        with pytest.raises(RemoteProtocolError, match="join again"):
            driver.joins.take(p.Hello(flood[0], "cpu", "same view"))
        driver.end("done")

    bounded(scenario())


def test_processes_that_are_made_up_do_not_fill_the_memory():
    machine = Machine(policy_with())
    for number in range(MOST_EXPECTED + 10):
        machine(cm.WorkerExpected("eve", str(number)))
    assert len(machine.state._state.expected) == MOST_EXPECTED
    quarantine = Quarantine(after=2, for_s=60)
    for shard in range(2):
        quarantine.failed("ada", (1, shard), "no memory", now=0)
    for number in range(2 * MOST_SUSPECTS):
        quarantine.failed(str(number), (1, 0), "no memory", now=0)
    assert len(quarantine._records) <= MOST_SUSPECTS
    assert quarantine.reason("ada") is not None


def test_heartbeats_may_come_late_and_together_but_not_without_end():
    rate = HeartbeatRate(heartbeat_s=1.0)
    for _ in range(BURST):
        rate.count(now=0.0)
    with pytest.raises(RemoteProtocolError, match="more than 10 times per second"):
        rate.count(now=0.0)
    for second in range(1, 100):
        for _ in range(9):
            rate.count(now=float(second))


class Flood:
    """The context of a stream on which heartbeats come as fast as they are read."""

    async def read(self):
        return next(codec.encode_up(p.Heartbeat()))


def test_a_stream_of_nothing_but_heartbeats_is_ended():
    async def scenario():
        driver = toy_coordinator()
        server, peer = Server(driver), GrpcPeer(Traffic())
        decoder = codec.UpDecoder(driver.limit_bytes)
        with pytest.raises(RemoteProtocolError, match="heartbeats come more than"):
            await server._read(Flood(), decoder, peer, p.WorkerId("eve"), None)
        driver.end("done")

    bounded(scenario())


def test_an_answer_that_is_too_large_is_told_as_such(monkeypatch):
    monkeypatch.setattr(status_codec, "encode_overview", lambda _: bytes(5 << 20))
    told = []

    async def scenario():
        driver = toy_coordinator()
        server = Server(driver)
        address = await server.start("127.0.0.1", 0)

        def question():
            try:
                ask(address, None, channel.STATUS, b"")
            except MlpeftError as error:
                told.append(str(error))

        thread = threading.Thread(target=question)
        thread.start()
        while thread.is_alive():  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
        driver.end("done")
        await server.stop(1)

    bounded(scenario())
    assert "is there, but its answer is too large for one message" in told[0]

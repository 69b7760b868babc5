"""Theta for a worker: whole, or in steps from the version that it has."""

import numpy as np

from mlpeft.runtime.coordinator.grpc_peer import GrpcPeer
from mlpeft.runtime.coordinator.peer import EncodedTheta, RecentSteps
from mlpeft.transport.rpc.outbox import Traffic
from tests.runtime.toy import bounded

META = {"w": np.zeros(100_000, np.float32)}
STEP = {"packed/int8": np.zeros(100_000, np.int8)}


def theta(version, steps=()):
    encoded = EncodedTheta(version, META)
    encoded.steps = steps
    return encoded


def noted(versions):
    recent = RecentSteps()
    for version in versions:
        recent.note(version, STEP)
    return recent


def bases(sent):
    return [each.message.base for each in sent]


def test_a_worker_that_has_an_earlier_version_gets_the_steps_from_there():
    newest = theta(3, noted([1, 2, 3]).to(3, 400_000))
    assert bases(newest.after(2)) == [2]
    assert bases(newest.after(0)) == [0, 1, 2]


def test_a_worker_that_has_none_or_an_older_one_gets_theta_whole():
    newest = theta(3, noted([2, 3]).to(3, 400_000))
    assert newest.after(None) == [newest]
    assert newest.after(0) == [newest]
    assert newest.after(3) == [newest]


def test_steps_are_kept_while_they_take_fewer_bytes_than_theta():
    assert len(noted(range(1, 9)).to(8, 400_000)) == 4
    assert noted([1]).to(1, 50_000) == ()


def test_steps_that_do_not_follow_each_other_lead_nowhere():
    """After a restart, or a round without a step."""
    assert bases(noted([1, 2, 5]).to(5, 400_000)) == [4]
    assert noted([1, 2]).to(3, 400_000) == ()


async def _frames(peer):
    """All that waits to be sent, as if the worker read at once."""
    peer.outbox.finish()
    sent = 0
    async for frame in peer.outbox.frames():
        sent += len(frame)
        window = peer.outbox._window
        window.acknowledge(window.sent, 0.0)
    return sent


def test_a_step_is_sent_after_a_theta_that_was_sent_to_its_end():
    async def scenario():
        peer = GrpcPeer(Traffic())
        peer.send_theta(theta(0))
        peer.outbox._large.clear()  # as if it had been sent
        peer.send_theta(theta(1, noted([1]).to(1, 400_000)))
        return await _frames(peer)

    assert 100_000 < bounded(scenario()) < 110_000


def test_theta_is_sent_whole_if_the_one_before_was_cut_short():
    async def scenario():
        peer = GrpcPeer(Traffic())
        peer.send_theta(theta(0))
        peer.send_theta(theta(1, noted([1]).to(1, 400_000)))
        return await _frames(peer)

    assert bounded(scenario()) > 400_000

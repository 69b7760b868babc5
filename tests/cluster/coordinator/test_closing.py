"""Rounds that need not wait for all their shards."""

import numpy as np
import pytest

from mlpeft.cluster import protocol as p
from mlpeft.cluster.coordinator import messages as cm
from mlpeft.cluster.coordinator.updates import Turn
from mlpeft.cluster.messages import TimePassed
from mlpeft.cluster.sim import toy_shards
from mlpeft.errors import LocalProtocolError
from tests.cluster.builders import META, Machine, granted, key, of_type, policy_with

WORKERS = ["ada", "bob", "cyd"]


def machine(workers=WORKERS, **policy):
    made = Machine(policy_with(**{"grace_s": 2.0, "max_staleness": 2} | policy))
    for name in workers:
        made.join(name, at=0.0)
    return made


def opened(made, version=0, shards=3, need=2, at=None):
    event = cm.RoundOpened(version, toy_shards(version, shards), META, need=need)
    return made(event, at)


def late(made):
    """Shards of closed rounds that counted, and that did not."""
    return tuple(made.state.status(made.now).late.values())


def answered(made, round_id, version, count=2):
    """So many of a round's leases are answered, by whoever holds them; the result."""
    commands = []
    leases = made.state.status(made.now).leases
    for lease in [each for each in leases if each.key.round_id == round_id][:count]:
        number, attempt = lease.key.shard, lease.key.attempt
        commands += made.update(lease.worker, number, attempt, round_id, version)
    return result_of(commands)


def result_of(commands):
    (complete,) = of_type(commands, cm.CompleteRound)
    return complete.result


def test_a_round_closes_when_it_has_enough_and_the_grace_is_over():
    made = machine()
    opened(made)
    made.update("ada", 0)
    assert of_type(made.update("cyd", 2), cm.CompleteRound) == []
    assert made.state.next_wakeup() <= 2.0
    assert of_type(made(TimePassed(), at=1.9), cm.CompleteRound) == []
    result = result_of(made(TimePassed(), at=2.0))
    assert (result.shards, result.late) == ((0, 2), ())
    assert result.totals.count == 4


def test_a_round_that_gets_all_its_shards_closes_at_once():
    made = machine()
    opened(made)
    for shard, name in enumerate(WORKERS[:2]):
        made.update(name, shard)
    assert result_of(made.update("cyd", 2)).shards == (0, 1, 2)


def test_a_late_update_counts_in_the_next_round():
    """Its lease goes on; what it started from is known by its meta-iteration."""
    made = machine(grace_s=0.0)
    opened(made)
    made.update("ada", 0)
    made.update("bob", 1)  # with no grace the round ends with it
    opened(made, version=1)
    made.update("cyd", 2)
    made.update("ada", 0, round_id=2, version=1)
    commands = made.update("bob", 1, round_id=2, version=1)
    result = result_of(commands)
    assert [(each.round, each.update.index) for each in result.late] == [(0, 2)]
    assert result.shards == (0, 1)
    assert late(made) == (1, 0)


def test_an_update_that_comes_between_rounds_counts_in_the_next():
    made = machine(grace_s=0.0)
    opened(made)
    made.update("ada", 0)
    made.update("bob", 1)
    made.update("cyd", 2)
    opened(made, version=1)
    made.update("ada", 0, round_id=2, version=1)
    result = result_of(made.update("bob", 1, round_id=2, version=1))
    assert [each.place for each in result.late] == [(0, 2)]


def test_a_late_update_counts_once():
    made = machine(grace_s=0.0)
    opened(made)
    made.update("ada", 0)
    made.update("bob", 1)
    made.update("cyd", 2)
    made.update("cyd", 2)
    opened(made, version=1)
    made.update("ada", 0, round_id=2, version=1)
    assert len(result_of(made.update("bob", 1, round_id=2, version=1)).late) == 1


def test_what_is_late_by_too_many_versions_is_told_to_stop_and_does_not_count():
    made = machine(grace_s=0.0, max_staleness=1)
    opened(made)
    made.update("ada", 0)
    made.update("bob", 1)
    opened(made, version=1, shards=2, need=1)
    made.update("ada", 0, round_id=2, version=1)
    revoked = of_type(opened(made, version=2), p.LeaseRevocation)
    assert key(2) in [command.message.key for command in revoked]
    made.update("cyd", 2)
    result = answered(made, round_id=3, version=2)
    assert (0, 2) not in [each.place for each in result.late]
    assert late(made) == (0, 1)


def test_an_update_that_waited_for_too_many_versions_is_dropped():
    """A validation passes between its coming and the next round that it could join."""
    made = machine(grace_s=0.0, max_staleness=1)
    opened(made)
    made.update("ada", 0)
    made.update("bob", 1)
    made.update("cyd", 2)
    assert late(made) == (0, 0)
    opened(made, version=2)
    assert late(made) == (0, 1)
    assert answered(made, round_id=2, version=2).late == ()


def test_without_staleness_a_closed_round_takes_its_leases_back():
    made = machine(grace_s=0.0, max_staleness=0)
    opened(made)
    made.update("ada", 0)
    (revocation,) = of_type(made.update("bob", 1), p.LeaseRevocation)
    assert revocation.message.key == key(2)
    made.update("cyd", 2)
    assert late(made) == (0, 1)
    opened(made, version=1)
    assert answered(made, round_id=2, version=1).late == ()


def test_late_updates_fill_a_buffered_round():
    """Two updates close it, whichever rounds they are of."""
    made = machine(grace_s=0.0, late_counts=True)
    opened(made)
    made.update("ada", 0)
    made.update("bob", 1)
    opened(made, version=1)
    made.update("cyd", 2)
    result = result_of(made.update("ada", 0, round_id=2, version=1))
    assert (result.shards, len(result.late)) == ((0,), 1)


def test_a_buffer_that_is_full_when_a_round_opens_closes_it_at_the_next_wakeup():
    made = machine(grace_s=0.0, late_counts=True)
    opened(made, shards=3, need=1)
    made.update("ada", 0)
    made.update("bob", 1)
    opened(made, version=1, need=1)
    assert made.state.next_wakeup() <= made.now
    result = result_of(made(TimePassed()))
    assert (result.shards, len(result.late)) == ((), 1)
    assert result.totals.count == 0


def test_a_late_update_is_checked_as_any_other():
    made = machine(grace_s=0.0)
    opened(made)
    made.update("ada", 0)
    made.update("bob", 1)
    opened(made, version=1)
    made.update("cyd", 2, version=1)  # it says that it started from another theta
    made.update("ada", 0, round_id=2, version=1)
    result = result_of(made.update("bob", 1, round_id=2, version=1))
    assert result.late == ()
    assert made.state.status(made.now).refused == 1
    assert late(made) == (0, 1)


def test_a_worker_that_leaves_takes_its_late_lease_along():
    made = machine(grace_s=0.0)
    opened(made)
    made.update("ada", 0)
    made.update("bob", 1)
    left = made(cm.WorkerLeft(p.WorkerId("cyd-id"), "it died"))
    assert "shard 2 of the closed round 1 is dropped" in left[0].text
    assert late(made) == (0, 1)
    made.join("cyd")
    made.update("cyd", 2)
    opened(made, version=1)
    assert answered(made, round_id=2, version=1).late == ()


def test_a_worker_with_a_late_lease_gets_no_shard_before_it_is_done():
    made = machine(grace_s=0.0)
    opened(made)
    made.update("ada", 0)
    made.update("bob", 1)
    assert [who for who, _ in granted(opened(made, version=1))] == ["ada-id", "bob-id"]
    assert granted(made.update("cyd", 2)) == [("cyd-id", key(2, round_id=2))]
    assert "go on" not in made.state.status(made.now).wait


def test_the_status_counts_what_is_late():
    made = machine(grace_s=0.0)
    opened(made)
    made.update("ada", 0)
    made.update("bob", 1)
    opened(made, version=1)
    status = made.state.status(made.now)
    assert "; 2 are enough; 1 of earlier rounds go on" in status.wait
    assert key(2) in [lease.key for lease in status.leases]


def test_an_update_is_read_at_once_where_rounds_need_not_wait():
    """The sum is taken in order at the end; the first shard may never come."""
    made = machine(grace_s=0.0, ordered_sum=True, room_bytes=0)
    opened(made, shards=9, need=2)
    assert made.state.upload_turn(p.WorkerId("cyd-id"), key(2)) is Turn.NOW


def test_an_abandoned_round_leaves_nothing_late():
    made = machine(grace_s=0.0)
    opened(made)
    made.update("ada", 0)
    made.update("bob", 1)
    opened(made, version=1)
    revoked = of_type(made(cm.RoundAbandoned("enough")), p.LeaseRevocation)
    assert key(2) in [command.message.key for command in revoked]


def test_an_audited_shard_is_never_late():
    made = machine(grace_s=0.0, audit=1.0, audit_seed="s")
    opened(made, shards=4, need=1)
    commands = [*made.update("ada", 0)]
    live = {lease.key.shard: lease for lease in made.state.status(made.now).leases}
    other = live.get(0)
    if other is not None:
        name = other.worker
        commands += made.update(name, 0, attempt=other.key.attempt)
    else:
        for name, shard in (("bob", 1), ("cyd", 2)):
            for worker, granted_key in granted(made.update(name, shard)):
                if granted_key.shard == 0:
                    commands += made.update(
                        worker.removesuffix("-id"), 0, attempt=granted_key.attempt
                    )
    assert of_type(commands, cm.CompleteRound)
    assert "go on" not in made.state.status(made.now).wait


@pytest.mark.parametrize("need", [0, 4, -1])
def test_a_round_cannot_need_what_it_does_not_have(need):
    with pytest.raises(LocalProtocolError, match="cannot need"):
        opened(machine(), need=need)


def test_a_sum_with_a_gap_has_the_bytes_of_the_shards_that_are_in():
    """Whichever came first."""
    totals = []
    for order in ((0, 2), (2, 0)):
        made = machine(ordered_sum=True)
        opened(made)
        for shard in order:
            made.update(WORKERS[shard], shard)
        result = result_of(made(TimePassed(), at=2.0))
        totals.append(np.asarray(result.totals.total["w"]).tobytes())
    assert totals[0] == totals[1]

"""Workers that are much slower than others hold nobody up."""

import pytest

from mlpeft.cluster import protocol as p
from mlpeft.cluster.coordinator import messages as cm
from mlpeft.cluster.messages import TimePassed
from mlpeft.cluster.protocol import WorkerId
from tests.cluster.builders import Machine, granted, key, policy_with

ADA, BOB, CYD = (WorkerId(f"{name}-id") for name in ("ada", "bob", "cyd"))


def machine_with(*names, **policy):
    machine = Machine(policy_with(lost_after_s=1000, announce_s=1000, **policy))
    for name in names:
        machine.join(name)
    return machine


def wait(machine, until):
    """Stop at every wakeup on the way, as the shells do."""
    commands = []
    while (wakeup := machine.state.next_wakeup()) is not None and wakeup <= until:
        commands += machine(TimePassed(), at=wakeup)
    machine.now = until
    return commands


def lets_go(machine, worker, lease_key):
    return machine(
        cm.MessageReceived(worker, p.LeaseReturn(lease_key, failed=False, reason=""))
    )


@pytest.fixture
def straggling():
    """Ada needed ten seconds for a shard and bob one; round 2 is not open yet."""
    machine = machine_with("ada", "bob")
    machine.open(shards=2)
    machine.now = 1.0
    machine.update("bob", 1)
    assert granted(wait(machine, 3)) == [(BOB, key(0, attempt=2))]
    machine.now = 4.0
    machine.update("bob", 0, attempt=2)
    machine.now = 10.0
    lets_go(machine, ADA, key(0))
    return machine


def test_a_worker_that_hangs_in_a_first_round_has_a_backup_when_others_are_done():
    """Theirs took 1 s, so that three seconds are slow."""
    machine = machine_with("ada", "bob", "cyd")
    machine.open(shards=3)
    machine.now = 1.0
    machine.update("bob", 1)
    machine.update("cyd", 2)
    assert machine.state.next_wakeup() == pytest.approx(3)
    assert granted(machine(TimePassed(), at=3.0)) == [(BOB, key(0, attempt=2))]


def test_while_no_time_is_known_a_backup_comes_after_the_shortest_lease():
    machine = machine_with("ada", "bob", least_lease_s=60, lease_s=600)
    machine.open(shards=1)
    assert granted(wait(machine, 59)) == []
    assert granted(wait(machine, 61)) == [(BOB, key(0, attempt=2))]


def test_a_worker_that_has_stalled_hides_it_no_longer_behind_its_own_median():
    """Ada is as fast as bob at nine shards of ten, and then stands still."""
    machine = machine_with("ada", "bob")
    for version in range(9):
        machine.open(shards=2, version=version)
        machine.now += 1
        machine.update("ada", 0, round_id=version + 1, version=version)
        machine.update("bob", 1, round_id=version + 1, version=version)
    machine.open(shards=2, version=9)
    machine.now += 1
    machine.update("bob", 1, round_id=10, version=9)
    backups = granted(wait(machine, machine.now + 2))
    assert backups == [(BOB, key(0, attempt=2, round_id=10))]
    machine.now += 1
    machine.update("bob", 0, attempt=2, round_id=10, version=9)
    machine.now += 86
    lets_go(machine, ADA, key(0, round_id=10))
    ada, bob = machine.state.status(machine.now).workers
    assert ada.task_s == bob.task_s == 0.5
    machine.open(shards=1, version=10)
    assert machine.state.status(machine.now).leases[0].worker == "bob"


def test_a_straggler_gets_a_shard_only_if_nobody_else_is_free(straggling):
    assert granted(straggling.open(shards=1, version=1)) == [
        (BOB, key(0, round_id=2)),
    ]


def test_a_shard_of_a_straggler_has_a_backup_as_soon_as_another_is_idle(straggling):
    """That is after a second, which is not slow."""
    assert granted(straggling.open(shards=2, version=1)) == [
        (BOB, key(0, round_id=2)),
        (ADA, key(1, round_id=2)),
    ]
    straggling.now += 1
    commands = straggling.update("bob", 0, round_id=2, version=1)
    assert granted(commands) == [(BOB, key(1, attempt=2, round_id=2))]
    assert not straggling.state.status(straggling.now).leases[0].slow


def test_stragglers_do_not_back_each_other_up(straggling):
    straggling(cm.WorkerLeft(BOB, "gone"))
    straggling.join("cyd")
    straggling.open(shards=1, version=1)
    assert straggling.state.status(straggling.now).leases[0].worker == "cyd"


def test_a_straggler_that_has_recovered_is_trusted_again(straggling):
    for version in range(1, 13):
        straggling.open(shards=2, version=version)
        straggling.now += 1
        leases = straggling.state.status(straggling.now).leases
        for lease in sorted(leases, key=lambda lease: lease.worker):
            shard, done = lease.key.shard, {"round_id": version + 1, "version": version}
            straggling.update(lease.worker, shard, **done)
    assert granted(straggling.open(shards=2, version=13))[0][0] == ADA
    straggling.now += 1
    commands = straggling.update("bob", 1, round_id=14, version=13)
    assert granted(commands) == []


def slow_at_a_shard(machine, failed_on=None):
    """Ada has one shard of two and is slow; then somebody may fail at it."""
    machine.open(shards=2)
    machine.now += 1
    machine.update("bob", 1)
    commands = wait(machine, machine.now + 2)
    if failed_on is not None:
        ((worker, lease_key),) = granted(commands)
        assert worker == failed_on
        message = p.LeaseReturn(lease_key, failed=True, reason="no memory")
        commands = machine(cm.MessageReceived(worker, message))
    return [worker for worker, _ in granted(commands)]


def test_a_backup_goes_to_nobody_that_has_failed_at_the_shard():
    machine = machine_with("ada", "bob")
    assert slow_at_a_shard(machine, failed_on=BOB) == []
    assert granted(machine.join("cyd")) == [(CYD, key(0, attempt=3))]


def test_a_backup_goes_to_another_machine_if_one_is_idle():
    """Bob's process runs on the machine of ada's, and joined before cyd."""
    machine = machine_with()
    machine.join("ada", identity="studio")
    machine.join("bob", identity="studio", slots=2)
    machine.open(shards=3)
    machine.join("cyd", identity="laptop")
    machine.now = 1.0
    for shard in (0, 2):
        machine.update("bob", shard)
    assert granted(wait(machine, 6)) == [(CYD, key(1, attempt=2))]


def test_a_backup_goes_to_a_process_of_the_same_machine_if_no_other_is_idle():
    machine = machine_with()
    for name in ("ada", "bob"):
        machine.join(name, identity="studio")
    assert slow_at_a_shard(machine) == [BOB]


def test_a_lease_that_is_late_by_little_of_a_round_has_no_backup():
    """A round takes 100 s and a shard 1 s: slow is 5 s rather than 3 s."""
    machine = machine_with("ada")
    machine.open(shards=100)
    for shard in range(100):
        machine.now += 1
        machine.update("ada", shard)
    machine.join("bob")
    machine.open(shards=1, version=1)
    assert granted(wait(machine, 104.9)) == []
    assert len(granted(wait(machine, 105.1))) == 1


def test_without_a_factor_stragglers_have_no_backups_either(straggling):
    """Nor is anything slow: nothing wakes the coordinator for it."""
    machine = machine_with("ada", "bob", backup_factor=0)
    machine.open(shards=2)
    machine.now = 1.0
    machine.update("bob", 1)
    assert granted(wait(machine, 500)) == []

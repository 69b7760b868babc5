"""Guards of the cluster, broken one at a time: the simulator finds each.

Each mutation takes away what keeps one promise. If a few dozen schedules did not
show it, then thousands of them would prove little.
"""

import pytest

from mlpeft.cluster import validation
from mlpeft.cluster.coordinator.audits import Auditor
from mlpeft.cluster.coordinator.leases import Leases
from mlpeft.cluster.coordinator.membership import Membership
from mlpeft.cluster.coordinator.outliers import OutlierCheck, Verdict
from mlpeft.cluster.coordinator.updates import UpdateHandler
from mlpeft.cluster.sim import check
from mlpeft.cluster.worker.machine import WorkerMachine
from mlpeft.params import OrderedSum

MOST_SEEDS = 60
"""Schedules within which a mutation must be found."""
MUTATIONS = {}


def mutation(breaks):
    """Enter a mutation under its function's name, as a sentence."""
    MUTATIONS[breaks.__name__.replace("_", " ")] = breaks
    return breaks


def anything_answers(handler, key):
    """The open round, whichever lease an update answers and whether it is in."""
    current = handler._state.round
    known = current is not None and 0 <= key.shard < len(current.shards)
    return current if known else None


@mutation
def an_update_counts_as_often_as_it_comes(patch):
    """The sum has a guard of its own, which goes too."""
    whole = OrderedSum.add

    def wanting(handler, key):
        mine = (handler._state.session, getattr(handler._state.round, "round_id", 0))
        return anything_answers(handler, key) if key[:2] == mine else None

    def add(ordered, index, tree):
        if index < ordered.done:
            ordered._add(tree)
        else:
            whole(ordered, index, tree)

    patch.setattr(UpdateHandler, "_wanting", wanting)
    patch.setattr(OrderedSum, "add", add)


@mutation
def an_update_of_another_round_counts(patch):
    """Two more guards would catch it: the lease's holder, and theta's version."""

    def refusal(handler, current, shard, event, process_id):
        results = handler._policy.results
        return validation.reject_reason(shard, current.schema, results, event.update)

    patch.setattr(UpdateHandler, "_wanting", anything_answers)
    patch.setattr(UpdateHandler, "_refusal", refusal)


@mutation
def an_update_of_any_form_counts(patch):
    patch.setattr(validation, "reject_reason", lambda *_: None)


@mutation
def an_update_with_nan_counts(patch):
    patch.setattr(validation, "_range_refusal", lambda *_: None)


@mutation
def an_update_of_any_size_counts(patch):
    patch.setattr(OutlierCheck, "judge", lambda *_, **__: Verdict())


@mutation
def an_audit_compares_nothing(patch):
    patch.setattr(Auditor, "_agree", lambda *_: True)


@mutation
def updates_are_summed_in_the_order_of_their_arrival(patch):
    def add(ordered, index, tree):
        ordered._add(tree)
        ordered.done += 1

    patch.setattr(OrderedSum, "add", add)


@mutation
def the_lease_of_a_lost_worker_is_not_released(patch):
    def left(membership, worker_id, reason):
        membership._state.workers.pop(worker_id, None)
        return []

    patch.setattr(Membership, "left", left)


@mutation
def a_lost_worker_is_never_noticed_as_such(patch):
    """Its leases do not run out either, for the two stand in for each other."""
    patch.setattr(Membership, "lose_silent", lambda _: [])
    patch.setattr(Membership, "wakeups", lambda _: [])
    never_expires(patch)


def never_expires(patch):
    whole = Leases._check_time

    def check_time(leases, key, live):
        if leases._state.now >= live.deadline:
            live.deadline = float("inf")
        return whole(leases, key, live)

    patch.setattr(Leases, "_check_time", check_time)


@mutation
def a_lease_never_expires_while_its_thread_hangs(patch):
    never_expires(patch)


@mutation
def a_worker_computes_from_the_theta_that_it_has(patch):
    """The coordinator believes that each has the newest."""
    whole = Leases.grant

    def lease(leases, current, index, worker, *, backup=False):
        worker.version = current.version if worker.version is not None else None
        return whole(leases, current, index, worker, backup=backup)

    patch.setattr(Leases, "grant", lease)


@mutation
def time_stands_still_for_a_worker(patch):
    """It would send heartbeats without end, and nothing else."""
    patch.setattr(WorkerMachine, "_time_passed", lambda _: [])


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_simulator_finds_that(name, monkeypatch):
    MUTATIONS[name](monkeypatch)
    for seed in range(MOST_SEEDS):
        try:
            check(seed)
        except AssertionError as error:
            assert f"check({seed})" in str(error)  # noqa: PT017 - how to replay it
            return
    pytest.fail(f"{MOST_SEEDS} schedules do not show that {name}")

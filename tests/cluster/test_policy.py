"""Decisions and their reasons."""

from dataclasses import replace

import pytest

from mlpeft.cluster.coordinator.waits import round_wait, shards_named
from mlpeft.cluster.policy import (
    Candidate,
    Cause,
    Failure,
    choose_worker,
    shards_needed,
)
from mlpeft.cluster.protocol import WorkerId
from mlpeft.cluster.sim import toy_shards
from mlpeft.cluster.validation import Versions, version_refusal, view_refusal
from mlpeft.config import ClusterSection
from mlpeft.work import Kind


def candidate(name, free, **changes):
    return Candidate(
        WorkerId(name), name, f"{name}-process", f"{name}-machine", free, **changes
    )


def failure(name):
    return Failure(
        1, name, f"{name}-process", f"{name}-machine", Cause.FAILED, "no memory"
    )


def test_the_worker_with_most_free_slots_is_chosen_and_the_first_among_equals():
    workers = [candidate("ada", 1), candidate("bob", 2), candidate("cyd", 2)]
    assert choose_worker(workers, ()) == ("bob", "bob has 2 free")


def test_without_workers_a_shard_waits_for_one():
    assert choose_worker((), ()) == (None, "no worker is connected")
    draining = [candidate("ada", 0, draining=True)]
    assert choose_worker(draining, ()) == (None, "no worker is connected")


def test_a_worker_that_failed_is_passed_over_while_another_is_there():
    workers = [candidate("ada", 2), candidate("bob", 1)]
    assert choose_worker(workers, [failure("ada")]) == (
        "bob",
        "bob has not failed at it",
    )
    busy = [candidate("ada", 2), candidate("bob", 0)]
    assert choose_worker(busy, [failure("ada")])[0] is None


def test_when_all_have_failed_anyone_may_try_again():
    chosen, reason = choose_worker([candidate("ada", 1)], [failure("ada")])
    assert chosen == "ada"
    assert reason.startswith("every connected worker has failed at it")


def test_when_all_have_failed_they_take_turns():
    workers = [candidate("ada", 2), candidate("bob", 1)]
    once = [failure("ada"), failure("bob"), failure("ada")]
    assert choose_worker(workers, once)[0] == "bob"
    assert choose_worker(workers, [*once, failure("bob")])[0] == "ada"


def test_a_restarted_worker_of_the_same_name_has_not_failed_yet():
    restarted = Candidate(WorkerId("2"), "ada", "another-process", "another-machine", 1)
    assert choose_worker([restarted], [failure("ada")])[1] == "ada has not failed at it"


def test_nobody_waits_for_a_worker_that_does_not_let_go_while_there_is_another():
    hung = candidate("ada", 0, stuck=True)
    chosen, _ = choose_worker([hung, candidate("bob", 1)], [failure("bob")])
    assert chosen == "bob"
    chosen, reason = choose_worker([hung], ())
    assert chosen is None
    assert reason.startswith("ada still computes shards that were revoked; if this")


def test_a_wait_names_a_few_and_counts_the_rest():
    held = [f"shard {index}" for index in range(7)]
    text = round_wait(
        done=1, total=8, connected=2, waiting=(), held=held, join_command=""
    )
    assert text == (
        "1 of 8 shards are in; computing shard 0, shard 1, shard 2, shard 3 and 3 more"
    )


def test_equal_versions_may_join_and_others_are_told_what_mends_it():
    ours = Versions(1, "0.1.0", "0.32.4")
    assert version_refusal(ours, ours) is None
    refused = version_refusal(ours, Versions(1, "0.1.0", "0.31.0"))
    assert refused is not None
    assert refused == (
        "versions differ: MLX 0.31.0 on the worker, 0.32.4 on the coordinator. To take "
        "part, run on the worker: pip install 'mlpeft==0.1.0' 'mlx[cpu]==0.32.4'"
    )


@pytest.mark.parametrize(
    ("theirs", "newer"),
    [
        (Versions(1, "0.2.0", "0.32.4"), True),
        (Versions(2, "0.10.0", "0.33.0"), True),
        (Versions(1, "0.2.0", "0.31.0"), False),
        (Versions(2, "0.1.0", "0.32.4"), False),
        (Versions(1, "0.2.0; rm -rf ~", "0.32.4"), False),
    ],
)
def test_a_newer_worker_is_told_that_the_coordinator_may_follow(theirs, newer):
    """A command is never made of a text that is no version."""
    refused = version_refusal(Versions(1, "0.1.0", "0.32.4"), theirs) or ""
    command = f"pip install 'mlpeft=={theirs.mlpeft}' 'mlx[cpu]=={theirs.mlx}'"
    assert (f"on the coordinator: {command}" in refused) is newer
    assert "on the worker: pip install 'mlpeft==0.1.0' 'mlx[cpu]==0.32.4'" in refused


def test_a_wait_without_workers_says_how_to_start_one():
    command = "mlpeft-worker --coordinator 10.0.0.5:50051"
    text = round_wait(
        done=0, total=2, connected=0, waiting=(), held=(), join_command=command
    )
    assert f"start one with {command}" in text


def test_another_view_of_the_run_is_refused():
    assert view_refusal("a" * 64, "a" * 64) is None
    assert "expected aaaaaaaaaaaa" in (view_refusal("a" * 64, "") or "")


def test_many_shards_are_told_by_their_number_and_few_by_name():
    assert shards_named([7]) == "shard 7"
    assert shards_named([2, 5, 9]) == "shards 2, 5, 9"
    assert shards_named(range(2, 10)) == "8 shards"


def process(name, identity, free=1):
    return Candidate(WorkerId(name), name, name, identity, free)


def failed(name, identity):
    return Failure(1, name, name, identity, Cause.FAILED, "no memory")


def test_a_shard_that_failed_on_a_machine_goes_to_another_before_its_siblings():
    workers = [process("a", "studio", 3), process("b", "studio", 2), process("c", "m")]
    assert choose_worker(workers, [failed("a", "studio")])[0] == "c"
    twice = [failed("a", "studio"), failed("c", "m")]
    assert choose_worker(workers, twice)[0] == "b", "who of a machine has not failed"
    alone = workers[:2]
    assert choose_worker(alone, [failed("a", "studio")])[0] == "b"


@pytest.mark.parametrize(
    ("keys", "shards", "needed"),
    [
        ({}, 8, None),
        ({"mode": "quorum", "quorum": 0.75}, 8, 6),
        ({"mode": "quorum", "quorum": 0.7}, 10, 7),
        ({"mode": "quorum", "quorum": 0.01}, 3, 1),
        ({"mode": "quorum", "quorum": 1.0}, 3, 3),
        ({"mode": "async"}, 16, 8),
        ({"mode": "async"}, 2, 1),
    ],
)
def test_a_training_round_needs_the_updates_of_its_mode(keys, shards, needed):
    """0.7 * 10 is a little more than 7 to a computer."""
    made = toy_shards(0, shards)
    assert shards_needed(ClusterSection(**keys), made) == needed
    validation = [replace(shard, kind=Kind.VALIDATE) for shard in made]
    assert shards_needed(ClusterSection(**keys), validation) is None

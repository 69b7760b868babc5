"""Outliers count when somebody else finds the same, and not before."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from mlpeft.cluster import protocol as p
from mlpeft.cluster.coordinator import messages as cm
from mlpeft.cluster.coordinator.norm_history import (
    LEAST_NORMS,
    MOST_IDENTITIES,
    WINDOW,
    NormHistory,
)
from mlpeft.cluster.coordinator.outliers import OutlierCheck, displacement_norm
from mlpeft.cluster.sim import Faults, Simulation, serial_result, toy_shards
from mlpeft.params import global_norm, subtract
from mlpeft.work import Displacement, Kind, Shard, ShardUpdate, TaskSpec
from tests.cluster.builders import META, THETA, Machine, of_type, policy_with

FROM_THETA, AS_IT_IS = Displacement.FROM_THETA, Displacement.AS_IT_IS


def history(*norms):
    made = NormHistory()
    made.add(("ada", float(norm)) for norm in norms)
    return made


def moved(by, index=0, count=1):
    """An update that moves each of theta's numbers by so much."""
    loss = {"support_loss": np.zeros(count, dtype=np.float32)}
    total = (THETA + np.float32(by)) * np.float32(count)
    return ShardUpdate(index, count, {"w": total}, loss)


def test_the_displacement_is_that_of_the_mean_over_the_shards_tasks():
    """theta is 1, the mean 3 in each of five numbers: 2 sqrt(5) from theta."""
    update = moved(2, count=3)
    from_theta = displacement_norm(update, META, FROM_THETA)
    assert from_theta == pytest.approx(2 * np.sqrt(5))


def test_a_gradient_is_its_own_displacement():
    """The same mean as a gradient: 3 sqrt(5), wherever theta is."""
    update = moved(2, count=3)
    as_it_is = displacement_norm(update, META, AS_IT_IS)
    assert as_it_is == pytest.approx(3 * np.sqrt(5))


def test_the_displacement_of_many_blocks_is_that_of_whole_leaves():
    rng = np.random.default_rng(0)
    shapes = {"a": (300, 250), "b": (70_000,), "c": (1,)}
    meta = {name: rng.normal(size=s).astype(np.float32) for name, s in shapes.items()}
    total = {name: leaf + np.float32(0.1) for name, leaf in meta.items()}
    update = ShardUpdate(0, 1, total)
    for displacement, expected in (
        (FROM_THETA, global_norm(subtract(total, meta))),
        (AS_IT_IS, global_norm(total)),
    ):
        found = displacement_norm(update, meta, displacement)
        assert found == pytest.approx(expected, rel=1e-4)


def test_leaves_that_are_no_part_of_theta_are_not_looked_at():
    total = META | {"state": np.full(1, 1e9, dtype=np.float32)}
    assert displacement_norm(ShardUpdate(0, 1, total), META, FROM_THETA) == 0


def test_there_is_no_limit_below_a_minimum_of_history():
    assert history(*[1.0] * (LEAST_NORMS - 1)).limit(10) is None
    assert history(*[1.0] * LEAST_NORMS).limit(10) is not None


def test_the_limit_is_so_many_median_deviations_above_the_median():
    """Norms 0 .. 20: the median is 10, the deviations' is 5."""
    limit = history(*range(21)).limit(4)
    assert (limit.median, limit.norm) == (10, 10 + 4 * 5)


def test_equal_norms_leave_room_for_a_tenth_of_the_median():
    assert history(*[2.0] * 30).limit(10).norm == pytest.approx(2 + 10 * 0.2)


def test_a_few_huge_norms_in_the_history_move_the_limit_little():
    calm = [1.0, 1.1, 0.9] * 10
    spoiled = [*calm, *[1e9] * 5]
    assert history(*spoiled).limit(10).norm < 1.5 * history(*calm).limit(10).norm


def test_old_norms_are_forgotten():
    made = history(*[1.0] * WINDOW)
    made.add([("ada", 5.0)] * WINDOW)
    assert made.limit(10).median == 5


def test_a_worker_that_sends_many_norms_does_not_set_the_limit_by_itself():
    """Eve returns theta unchanged, ten times as often as three others return 1."""
    made = NormHistory()
    made.add([("eve", 0.0)] * WINDOW)
    assert made.limit(10).median == 0
    for name in ("ada", "bob", "cyd"):
        made.add([(name, 1.0)] * 40)
    made.add([("eve", 0.0)] * WINDOW)
    assert made.limit(10).median == 1
    assert made.limit(10).norms == WINDOW


def test_identities_that_come_and_go_do_not_fill_the_memory():
    made = NormHistory()
    made.add((f"eve{number}", 0.0) for number in range(10 * MOST_IDENTITIES))
    made.add([("ada", 1.0)])
    assert len(made.to_dict()) == MOST_IDENTITIES
    assert "ada" in made.to_dict()


def test_norms_survive_a_restart():
    made = history(*range(30))
    again = NormHistory()
    again.restore(json.loads(json.dumps(made.to_dict())))
    assert again.limit(4) == made.limit(4)


@pytest.mark.parametrize("norms", [[-1.0], [float("nan")], ["1"], 1.0, [10**400]])
def test_norms_of_another_form_are_refused(norms):
    with pytest.raises(ValueError, match="no list of norms"):
        NormHistory().restore({"ada": norms})


def test_before_much_is_known_an_absurd_update_needs_a_second_opinion_too():
    """Theta's norm is sqrt(5), so the limit is 1000 (1 + sqrt(5)) = 3236."""
    made = Machine(policy_with(norm_factor=20, max_attempts=3))
    made.join("ada")
    made.join("bob")
    made.open(shards=1)
    told = made.update("ada", 0, update=with_tasks(moved(1e4)))[0].text
    assert "little is known yet of what is usual, and beyond 3.24e+03 a second" in told
    assert of_type(
        made.update("bob", 0, 2, update=with_tasks(moved(1))), cm.CompleteRound
    )


def check():
    """Norms were about sqrt(5); beyond six times that a second opinion is wanted."""
    return OutlierCheck(history(*[np.sqrt(5)] * 30).limit(50), META, FROM_THETA)


ATTEMPTS = itertools.count(1)


def judged(made, update, process_id, *, alone):
    """The verdict on one more attempt."""
    return made.judge(update, next(ATTEMPTS), process_id, alone=alone)


def test_an_outlier_waits_for_somebody_else_to_find_the_same():
    made = check()
    reject_reason = judged(made, moved(100), "a", alone=False).reject_reason
    assert "it would move theta by 224" in reject_reason
    assert "the median of the last 30 that counted is 2.24" in reject_reason
    assert "beyond 13.4 a second worker must find the same" in reject_reason
    again = judged(made, moved(100), "a", alone=False)
    assert again.reject_reason is not None, "the same worker is no second opinion"
    other = judged(made, moved(100), "b", alone=False)
    assert other.reject_reason is None
    assert set(other.confirmed) == {"a"}
    assert made.norms({0: "b"}) == [("b", pytest.approx(100 * np.sqrt(5)))]


def test_two_outliers_that_differ_confirm_nothing():
    made = check()
    assert judged(made, moved(100), "a", alone=False).reject_reason
    assert judged(made, moved(103), "b", alone=False).reject_reason


def test_machines_that_round_differently_confirm_each_other():
    made = check()
    assert judged(made, moved(100), "a", alone=False).reject_reason
    assert judged(made, moved(100.3), "b", alone=False).reject_reason is None


def test_a_lone_worker_must_find_the_same_twice():
    made = check()
    assert judged(made, moved(100), "a", alone=True).reject_reason
    assert judged(made, moved(101.5), "a", alone=True).reject_reason
    assert judged(made, moved(100), "a", alone=True).reject_reason is None


def test_a_message_that_comes_twice_does_not_confirm_itself():
    made = check()
    assert made.judge(moved(100), 1, "a", alone=True).reject_reason
    assert made.judge(moved(100), 1, "a", alone=True).reject_reason


def test_what_an_honest_worker_finds_counts_at_once():
    made = check()
    assert judged(made, moved(100), "a", alone=False).reject_reason
    verdict = judged(made, moved(1), "b", alone=False)
    assert (verdict.reject_reason, verdict.confirmed) == (None, ())


def test_a_displacement_that_overflows_is_an_outlier():
    made = check()
    assert judged(made, moved(3e38), "a", alone=False).reject_reason


# --- in the coordinator ---------------------------------------------------------------


def season(**policy):
    """A coordinator with two workers, to which norms of about 2 are usual."""
    made = Machine(policy_with(norm_factor=20, max_attempts=3, **policy))
    made.join("ada")
    made.join("bob")
    for version in range(LEAST_NORMS // 2):
        made.open(shards=2, version=version)
        for index, name in enumerate(["ada", "bob"]):
            made.update(
                name,
                index,
                round_id=version + 1,
                version=version,
                update=with_tasks(moved(1 + version / 100, index)),
            )
    made.open(shards=1, version=10)
    return made


@pytest.fixture
def seasoned():
    return season()


def with_tasks(update):
    """Toy shards have two tasks."""
    loss = {"support_loss": np.zeros(2, dtype=np.float32)}
    total = {"w": update.total["w"] * np.float32(2)}
    return ShardUpdate(update.index, 2, total, loss)


def send(machine, name, by, attempt):
    return machine.update(
        name,
        0,
        attempt,
        round_id=11,
        version=10,
        update=with_tasks(moved(by)),
    )


def failures(machine):
    return {w.name: w.failures for w in machine.state.status(machine.now).workers}


def test_an_outlier_is_refused_by_name_counted_and_computed_elsewhere(seasoned):
    announced, *rest = send(seasoned, "ada", 1e4, 1)
    assert "round 11 shard 0 attempt 1 by worker ada refused: it would move" in (
        announced.text
    )
    (grant,) = of_type(rest, p.Lease)
    assert (grant.worker, grant.message.key.attempt) == ("bob-id", 2)
    assert seasoned.state.status(seasoned.now).refused == 1
    assert failures(seasoned) == {"ada": 1, "bob": 0}
    (done,) = of_type(send(seasoned, "bob", 1, 2), cm.CompleteRound)
    assert done.result.totals.totals[0]["w"][0] == 4, "bob's counts"
    assert failures(seasoned) == {"ada": 1, "bob": 0}


def test_an_outlier_that_two_workers_find_counts_and_is_nobodys_failure(seasoned):
    send(seasoned, "ada", 1e4, 1)
    commands = send(seasoned, "bob", 1e4, 2)
    (announced,) = of_type(commands, cm.Announce)
    assert announced.text.endswith("is unusual but right: ada and bob agree")
    assert of_type(commands, cm.CompleteRound)
    assert failures(seasoned) == {"ada": 0, "bob": 0}


def test_a_second_process_of_a_liar_is_no_second_opinion(seasoned):
    """Eve lies, bob fails, and mallory, of eve's machine, tells the same lie."""
    seasoned(cm.RoundAbandoned("stop"))
    seasoned(cm.WorkerLeft(p.WorkerId("ada-id"), "gone"))
    for name in ("eve", "mallory"):
        seasoned.join(name, identity="10.0.0.5")
    seasoned.open(shards=3, version=10)
    lie = {"round_id": 12, "version": 10, "update": with_tasks(moved(1e4, 0))}
    assert "refused" in seasoned.update("eve", 0, 1, **lie)[0].text
    seasoned.update("mallory", 1, 1, **lie | {"update": with_tasks(moved(1, 1))})
    honest = lie | {"update": with_tasks(moved(1, 2))}
    (grant,) = of_type(seasoned.update("bob", 2, 1, **honest), p.Lease)
    assert (grant.worker, grant.message.key.attempt) == ("bob-id", 2)
    back = p.LeaseReturn(grant.message.key, failed=True, reason="no memory")
    (grant,) = of_type(seasoned(cm.MessageReceived(grant.worker, back)), p.Lease)
    assert grant.worker == "mallory-id"
    (failed,) = of_type(seasoned.update("mallory", 0, 3, **lie), cm.FailRound)
    assert "attempt 3 on mallory: refused: it would move theta" in failed.history


def test_who_was_quarantined_for_an_outlier_that_was_right_is_free_again():
    machine = season(quarantine_after=1)
    send(machine, "ada", 1e4, 1)
    assert machine.state.status(machine.now).workers[0].quarantined
    machine.join("cyd")
    commands = send(machine, "bob", 1e4, 2)
    told = [command.text for command in of_type(commands, cm.Announce)]
    assert "worker ada is out of quarantine: its update was right" in told
    assert machine.state.status(machine.now).workers[0].quarantined == ""


def test_outliers_that_never_agree_stop_the_run_with_their_story(seasoned):
    send(seasoned, "ada", 1e4, 1)
    send(seasoned, "bob", 2e4, 2)
    (failed,) = of_type(send(seasoned, "ada", 3e4, 3), cm.FailRound)
    refused = "attempt 2 on bob: refused: it would move theta by 4.47e+04"
    assert refused in failed.history
    assert "cluster.norm_factor" in failed.history


def test_scores_of_validation_have_no_norm(seasoned):
    send(seasoned, "ada", 1, 1)
    shard = Shard(10, 0, Kind.VALIDATE, (TaskSpec("toy", 1),))
    seasoned(cm.RoundOpened(10, (shard,), META))
    scores = {"loss": np.zeros((1, 1), dtype=np.float32)}
    commands = seasoned.update(
        "ada", 0, round_id=12, version=10, update=ShardUpdate(0, 1, {}, scores)
    )
    assert of_type(commands, cm.CompleteRound)


def test_the_limit_does_not_depend_on_the_order_of_arrival():
    def limit_after(order):
        made = Machine(policy_with(norm_factor=20))
        made.join("ada", slots=3)
        for version in range(8):
            made.open(shards=3, version=version)
            for index in order:
                assert toy_shards(version)[index]
                update = with_tasks(moved(3**index + version, index))
                made.update(
                    "ada", index, round_id=version + 1, version=version, update=update
                )
        return made.state._state.norms.limit(20)

    assert limit_after([0, 1, 2]) == limit_after([2, 0, 1])


def test_a_factor_of_zero_turns_the_check_off():
    made = Machine(policy_with(norm_factor=0))
    made.join("ada")
    for version in range(LEAST_NORMS + 1):
        made.open(shards=1, version=version)
        commands = made.update(
            "ada",
            0,
            round_id=version + 1,
            version=version,
            update=with_tasks(moved(1e9 if version == LEAST_NORMS else 1)),
        )
        assert of_type(commands, cm.CompleteRound)


def gradient(size):
    """A toy shard whose tasks have gradients of this in each of five numbers."""
    total = np.full(5, 2 * size, dtype=np.float32)
    loss = {"support_loss": np.zeros(2, dtype=np.float32)}
    return ShardUpdate(0, 2, {"w": total}, loss)


@pytest.mark.parametrize("displacement", [FROM_THETA, AS_IT_IS])
def test_a_gradient_a_hundred_times_too_large_is_refused_and_an_honest_one_never(
    displacement,
):
    """Theta is five times 1; usual gradients are five times 0.001.

    Their norm is 0.001 sqrt(5) = 0.00224, and the least spread a tenth of it. With a
    factor of 30 the limit is 4 medians, 0.00894. An honest task with a gradient of
    thrice the usual norm, 0.00671, counts; 0.1 sqrt(5) = 0.224 does not.

    Measured from theta all of them would look alike: usual ones are 0.999 sqrt(5) =
    2.23 away, so that the limit would be 8.93, and the liar 0.9 sqrt(5) = 2.01.
    """
    machine = Machine(policy_with(norm_factor=30, displacement=displacement))
    machine.join("ada")
    sizes = [0.001] * LEAST_NORMS + [0.0005, 0.003, 0.1]
    for version, size in enumerate(sizes):
        machine.open(shards=1, version=version)
        commands = machine.update(
            "ada", 0, round_id=version + 1, version=version, update=gradient(size)
        )
        honest = size < 0.1
        counts = honest or displacement is FROM_THETA
        assert bool(of_type(commands, cm.CompleteRound)) == counts, size
    refused = [command.text for command in of_type(commands, cm.Announce)]
    if displacement is AS_IT_IS:
        assert "refused: it has a gradient of norm 0.224; the median" in refused[0]
        assert "counted is 0.00224, and beyond 0.00894 a second" in refused[0]


def test_carried_optimiser_state_may_move_as_it_likes():
    machine = Machine(policy_with(norm_factor=20))
    machine.join("ada")
    meta = META | {"state": np.zeros(1, dtype=np.float32)}
    for version in range(LEAST_NORMS + 1):
        opened = cm.RoundOpened(
            version, toy_shards(version, 1), meta, carried=frozenset({"state"})
        )
        machine(opened)
        honest = with_tasks(moved(1))
        state = {"state": np.full(1, 4.0**version, dtype=np.float32)}
        update = replace(honest, total=honest.total | state)
        commands = machine.update(
            "ada", 0, round_id=version + 1, version=version, update=update
        )
        assert of_type(commands, cm.CompleteRound)


# --- in the simulator -----------------------------------------------------------------


def test_exaggerating_workers_do_no_harm_and_honest_outliers_do_not_stop_the_run():
    """Tasks of the toy run differ by powers of three, so the check often objects."""
    policy = policy_with(lease_s=8.0, max_attempts=10_000, norm_factor=2)
    refused = agreed = 0
    for seed in range(10):
        simulation = Simulation(
            seed, rounds=14, faults=Faults(exaggerate=0.2), policy=policy
        )
        theta = simulation.run()
        assert theta.tobytes() == serial_result(14).tobytes(), f"seed {seed}"
        lines = "\n".join(simulation.announced)
        refused += lines.count("would move theta by")
        agreed += lines.count("unusual but right")
    assert refused > 10
    assert agreed > 10

"""Whole clusters under a virtual clock: any schedule of faults, the serial bytes."""

from dataclasses import replace

import numpy as np
import pytest

from mlpeft.cluster.sim import (
    Faults,
    Simulation,
    any_schedule,
    check,
    check_loose,
    serial_result,
    toy_shards,
    toy_step,
    toy_update,
)
from mlpeft.cluster.sim.simulation import PATIENT
from mlpeft.rounds import RoundResult
from tests.cluster.builders import policy_with

SCHEDULES = 2000
SEEDS_A_TEST = 100
NOTHING = dict.fromkeys(
    (
        *("duplicate", "lie", "fail", "slow"),
        *("drops", "crashes", "freezes", "hangs"),
        *("drains", "pauses", "restarts"),
    ),
    0,
)
"""What goes wrong in a calm run; a test names what does in its own."""
CALM = Faults(delay_s=0.001, **NOTHING)


def assert_serial(simulation, rounds):
    theta = simulation.run()
    assert theta.tobytes() == serial_result(rounds).tobytes(), (
        f"replay with Simulation(seed={simulation.seed})"
    )


@pytest.mark.parametrize("first", range(0, SCHEDULES, SEEDS_A_TEST))
def test_any_schedule_of_faults_ends_in_the_bytes_of_the_serial_run(first):
    """The seed decides the cluster, its policy and the faults; a failure names it."""
    for seed in range(first, first + SEEDS_A_TEST):
        check(seed)


LOOSE_SCHEDULES = 200


@pytest.mark.parametrize("first", range(0, LOOSE_SCHEDULES, SEEDS_A_TEST))
def test_rounds_that_need_not_wait_end_in_the_bytes_of_their_replay(first):
    """No shard counts twice, none too late; what counted decides theta."""
    late = 0
    for seed in range(first, first + SEEDS_A_TEST):
        late += sum(len(each.late) for each in check_loose(seed).accepted)
    assert late > SEEDS_A_TEST


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_any_number_of_workers_ends_in_the_same_bytes(workers):
    assert_serial(Simulation(0, workers=workers, faults=CALM), rounds=6)


def test_a_single_worker_that_keeps_dying_still_gets_there():
    faults = Faults(crashes=12, drops=12, freezes=0, horizon_s=40)
    for seed in range(20):
        assert_serial(Simulation(seed, workers=1, faults=faults, rounds=4), rounds=4)


def test_frozen_workers_are_noticed_and_their_shards_run_elsewhere():
    faults = Faults(freezes=10, crashes=0, drops=0, lie=0, fail=0, restarts=0)
    seen = 0
    for seed in range(20):
        simulation = Simulation(seed, faults=faults)
        assert_serial(simulation, rounds=6)
        seen += any("no heartbeat" in line for line in simulation.announced)
    assert seen > 10


def test_leases_that_run_out_are_given_to_others_and_count_once():
    policy = policy_with(lease_s=0.4, max_attempts=10_000)
    for seed in range(20):
        assert_serial(Simulation(seed, policy=policy), rounds=6)


def only(**faults):
    return Faults(**NOTHING | faults)


def told(simulation, text):
    return any(text in line for line in simulation.announced)


def test_schedules_reach_what_they_are_for():
    """Or the thousands above show little."""
    missing = {
        *("backup: ", "takes long; ", "not done within", "continues on"),
        *("is drained", "takes no more", "paused", "no heartbeat", "is leased again"),
        *("refused", "failed at", "joined", "is quarantined", "out of quarantine"),
        *("would move theta by", "unusual but right"),
    }
    for seed in range(300):
        if not missing:
            return
        simulation = any_schedule(seed).simulation
        simulation.run()
        missing -= {text for text in missing if told(simulation, text)}
    assert not missing


def test_a_schedule_that_fails_says_how_to_replay_it(monkeypatch):
    monkeypatch.setattr("mlpeft.cluster.sim.schedules.serial_result", toy_nothing)
    with pytest.raises(AssertionError, match=r"check\(3\): theta differs"):
        check(3)


def toy_nothing(rounds, shards):
    return np.zeros(16, dtype=np.float32)


def test_a_run_that_hangs_is_noticed():
    """Only liars: no update ever counts."""
    with pytest.raises(AssertionError, match="did not end: round 1: "):
        Simulation(0, workers=1, faults=only(liars=1)).run(most_s=60)


def test_a_slow_task_gets_a_backup_and_counts_once():
    backups = 0
    for seed in range(20):
        simulation = Simulation(seed, faults=only(slow=0.05), rounds=8)
        assert_serial(simulation, rounds=8)
        backups += told(simulation, "backup: ")
        assert not told(simulation, "quarantined")
    assert backups > 10


@pytest.mark.parametrize(("shards", "rounds"), [(1, 150), (2, 150), (3, 60), (8, 60)])
def test_a_worker_that_is_ten_times_as_slow_costs_nothing_beside_another(
    shards, rounds
):
    """Beside a run without it, by virtual time. To find it out costs once."""
    took_s = {"with": 0.0, "without": 0.0}
    for seed in range(3):
        faults = {"with": {"stragglers": 1}, "without": {}}
        for case, changes in faults.items():
            simulation = Simulation(
                seed,
                workers=2 if case == "with" else 1,
                rounds=rounds,
                shards=shards,
                faults=only(delay_s=0.001, even=True, **changes),
            )
            theta = simulation.run()
            assert theta.tobytes() == serial_result(rounds, shards=shards).tobytes()
            took_s[case] += simulation.seconds
    assert took_s["with"] <= 1.1 * took_s["without"]


def test_healthy_workers_get_few_backups():
    backups = leases = 0
    for seed in range(10):
        simulation = Simulation(
            seed, workers=4, rounds=20, shards=16, faults=replace(CALM, even=True)
        )
        simulation.run()
        backups += simulation.backups
        leases += 20 * 16
    assert backups < 0.02 * leases


def test_a_liar_is_quarantined_and_nobody_else():
    caught = 0
    for seed in range(20):
        simulation = Simulation(seed, faults=only(liars=1, drops=4, restarts=1))
        assert_serial(simulation, rounds=6)
        caught += told(simulation, "worker w0 is quarantined")
        assert not told(simulation, "worker w1 is quarantined")
        assert not told(simulation, "worker w2 is quarantined")
    assert caught > 15


def test_two_liars_of_three_hold_nothing_up():
    for seed in range(20):
        assert_serial(Simulation(seed, faults=only(liars=2)), rounds=6)


def test_two_liars_of_one_machine_do_not_confirm_each_other():
    """Counted as two they would: each is the other's second opinion."""
    refused = 0
    for seed in range(20):
        simulation = Simulation(
            seed,
            workers=4,
            rounds=14,
            faults=only(liars=2, conspiracy=True),
            policy=policy_with(
                lease_s=8.0,
                max_attempts=10_000,
                quarantine_after=10_000,
                norm_factor=50,
            ),
        )
        assert_serial(simulation, rounds=14)
        refused += told(simulation, "would move theta by")
    assert refused > 15


def test_computing_threads_that_hang_show_and_cost_no_bits():
    shown = 0
    for seed in range(20):
        faults = only(hangs=6, horizon_s=10)
        simulation = Simulation(seed, faults=faults, rounds=10)
        assert_serial(simulation, rounds=10)
        shown += told(simulation, "its heartbeats arrive, but without progress")
        assert not told(simulation, "no heartbeat for")
    assert shown > 10


def test_workers_are_drained_one_after_another():
    for seed in range(20):
        simulation = Simulation(seed, faults=only(drains=10), rounds=10)
        assert_serial(simulation, rounds=10)
        assert told(simulation, "is drained") or told(simulation, "takes no more")


def test_pauses_and_restarts_in_any_order_end_in_the_same_bytes():
    for seed in range(20):
        faults = only(pauses=6, restarts=4, drops=4)
        assert_serial(Simulation(seed, faults=faults), rounds=6)


def test_workers_that_lie_in_every_second_update_do_no_harm():
    simulation = Simulation(3, faults=Faults(lie=0.5))
    assert_serial(simulation, rounds=6)
    assert any("refused" in line for line in simulation.announced)


def test_a_coordinator_that_dies_again_and_again_resumes_the_trajectory():
    faults = Faults(restarts=8, horizon_s=30)
    for seed in range(20):
        assert_serial(Simulation(seed, faults=faults), rounds=6)


def test_the_same_seed_is_the_same_schedule():
    first, second = Simulation(11), Simulation(11)
    first.run()
    second.run()
    assert first.announced == second.announced


def test_another_order_of_summation_gives_other_bytes():
    """Else the tests above would not notice one."""
    theta = np.full(16, 0.1, dtype=np.float32)
    updates = [toy_update(theta, shard) for shard in toy_shards(3)]
    turned = [replace(update, index=2 - update.index) for update in updates]
    forwards, backwards = (
        toy_step(theta, RoundResult.of(order)) for order in (updates, turned)
    )
    assert np.allclose(forwards, backwards)
    assert forwards.tobytes() != backwards.tobytes()


SLOW = Faults(bytes_per_s=125_000, drops=1, crashes=1, restarts=0, drains=1)
"""Theta is 34 s on its way, as is each update; a lease lasts 20 s, silence 4 s."""


@pytest.mark.parametrize("seed", range(20))
def test_slow_lines_end_in_the_serial_bytes(seed):
    theta = Simulation(seed, rounds=2, faults=SLOW).run()
    assert theta.tobytes() == serial_result(2).tobytes()


def test_slow_lines_alone_cost_no_lease():
    """Without other faults each shard is computed once, and none is late."""
    calm = Faults(
        bytes_per_s=125_000,
        **dict.fromkeys(("duplicate", "lie", "fail", "slow"), 0.0),
        **dict.fromkeys(("drops", "crashes", "freezes", "hangs"), 0),
        **dict.fromkeys(("drains", "pauses", "restarts"), 0),
    )
    simulation = Simulation(3, rounds=2, faults=calm)
    assert simulation.run().tobytes() == serial_result(2).tobytes()
    status = simulation._head.state.status(1e9)
    assert not any(status.failures.values())


@pytest.mark.parametrize("seed", range(30))
def test_owners_who_need_their_machines_cost_no_bytes(seed):
    """Messages are late, doubled and overtaken, and each of the faults happens, too."""
    simulation = Simulation(
        seed,
        workers=1 + seed % 4,
        rounds=4,
        shards=3,
        faults=Faults(absences=8, horizon_s=15.0),
        policy=PATIENT,
    )
    assert simulation.run().tobytes() == serial_result(4, shards=3).tobytes()

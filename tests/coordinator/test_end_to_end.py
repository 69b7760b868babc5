"""Real processes, real sockets, real signals: the same bytes whatever happens."""

import os
import re
import signal

import pytest
from safetensors.numpy import load

from mlpeft.commands.status import status
from mlpeft.commands.steer import pause, resume, stop

SLOW = "--set=meta_learning.num_inner_steps=120"
"""A tenth of a second a shard or more: long enough to be hit in the middle of one."""

BOTH = "--set=cluster.min_workers=2"
"""Nothing begins before both workers are there."""


def test_two_in_process_workers_end_in_the_bytes_of_one_process(cluster, serial_theta):
    coordinator = cluster.coordinator("--local-workers", "2")
    assert coordinator.end() == 0, coordinator.text
    assert cluster.theta() == serial_theta()


def test_native_code_gives_the_bytes_of_one_process(cluster, serial_theta):
    fused = "--set=compute.strategy=fused"
    coordinator = cluster.coordinator(fused, "--local-workers", "2")
    assert coordinator.end() == 0, coordinator.text
    assert cluster.theta() == serial_theta(fused)


def test_a_worker_that_cannot_compile_native_code_does_not_join(cluster):
    """Another strategy would have other bits, so it does not go on with one."""
    cluster.coordinator("--set=compute.strategy=fused")
    worker = cluster.worker("eve", MLPEFT_CC="none")
    assert worker.end() == 2
    assert "compute.strategy of this run is fused" in worker.text
    assert "here MLPEFT_CC=none says so; unset it" in worker.text
    assert "Traceback" not in worker.text


def test_a_robust_rule_gives_the_bytes_of_one_process(cluster, serial_theta):
    median = "--set=meta_learning.aggregation=coordinate_median"
    coordinator = cluster.coordinator(median, "--local-workers", "2")
    assert coordinator.end() == 0, coordinator.text
    assert cluster.theta() == serial_theta(median)
    assert serial_theta(median) != serial_theta()


def test_adapters_with_dropout_end_in_the_bytes_of_one_process(cluster, serial_theta):
    """Masks follow from a task's seed, and nothing but the adapter is in theta."""
    changes = (
        "--set=peft.method=lora",
        "--set=peft.keys=[layers.*]",
        "--set=peft.rank=2",
        "--set=peft.dropout=0.3",
        "--set=peft.train_also=[]",
    )
    coordinator = cluster.coordinator(*changes, "--local-workers", "2")
    assert coordinator.end() == 0, coordinator.text
    assert cluster.theta() == serial_theta(*changes)
    leaves = {name.rpartition(".")[2] for name in load(cluster.theta())}
    assert leaves == {"lora_a", "lora_b"}
    assert serial_theta(*changes) != serial_theta(*changes, "--set=peft.dropout=0")


@pytest.mark.parametrize("algorithm", ["maml++", "reptile_serial"])
def test_an_algorithm_that_follows_the_iteration_ends_in_the_bytes_of_one_process(
    cluster, serial_theta, algorithm
):
    """Weights of losses and a step size that change, and leaves that are learned."""
    changes = (
        f"--set=meta_learning.algorithm={algorithm}",
        "--set=meta_learning.multi_step_iterations=4",
        "--set=meta_learning.outer_schedule=linear",
        "--set=compute.shard_size=2",
        "--set=compute.strategy=loop",
    )
    coordinator = cluster.coordinator(*changes, "--local-workers", "2")
    assert coordinator.end() == 0, coordinator.text
    assert cluster.theta() == serial_theta(*changes)


def test_two_worker_processes_end_in_the_bytes_of_one_process(cluster, serial_theta):
    coordinator = cluster.coordinator(BOTH)
    workers = [cluster.worker(name, "--once") for name in ("ada", "bob")]
    coordinator.wait_for("2 connected")
    assert coordinator.end() == 0, coordinator.text
    assert cluster.theta() == serial_theta()
    for worker in workers:
        assert worker.end() == 0, worker.text
        assert "run over: run tiny: done" in worker.text


def test_compressed_updates_end_in_the_bytes_of_one_process(cluster, serial_theta):
    """One process rounds as workers do; theta goes to these in steps."""
    int8 = "--set=cluster.compression=int8"
    coordinator = cluster.coordinator(BOTH, int8)
    for name in ("ada", "bob"):
        cluster.worker(name, "--once")
    coordinator.wait_for("2 connected")
    assert coordinator.end() == 0, coordinator.text
    assert cluster.theta() == serial_theta(int8)
    assert serial_theta(int8) != serial_theta()


def test_a_worker_killed_in_mid_shard_changes_no_bytes(cluster, serial_theta):
    """SIGKILL while ada holds a lease; its shard is run again by bob.

    A lease that is seen may be over when the signal comes, so ada gets its last one
    when it stands still already.
    """
    changes = (
        SLOW,
        "--set=cluster.backup_factor=0",  # else bob may have it already
        "--set=evaluation.num_val_episodes=20",  # a shard each, from the first round on
    )
    coordinator = cluster.coordinator(BOTH, *changes)
    pause(coordinator=cluster.address)
    victim = cluster.worker("ada")
    cluster.worker("bob")
    coordinator.wait_for("2 connected")
    victim.signal(signal.SIGSTOP)
    resume(coordinator=cluster.address)
    coordinator.wait_for("leased to ada")
    victim.signal(signal.SIGKILL)
    coordinator.wait_for(r"worker ada left: .*shard \d is leased again")
    assert coordinator.end() == 0, coordinator.text
    assert cluster.theta() == serial_theta(*changes)


def test_a_frozen_worker_is_noticed_and_changes_no_bytes(cluster, serial_theta):
    """SIGSTOP closes no socket: only silence tells."""
    quick = (
        "--set=cluster.lost_after_s=1",
        "--set=cluster.heartbeat_s=0.2",
        "--set=cluster.backup_factor=0",
    )
    coordinator = cluster.coordinator(SLOW, BOTH, *quick)
    victim = cluster.worker("ada")
    cluster.worker("bob")
    coordinator.wait_for("2 connected")
    coordinator.wait_for("leased to ada")
    victim.signal(signal.SIGSTOP)
    coordinator.wait_for(r"worker ada left: no heartbeat .*is leased again")
    assert coordinator.end() == 0, coordinator.text
    assert cluster.theta() == serial_theta(SLOW)


def test_a_coordinator_killed_and_resumed_ends_in_the_same_bytes(cluster, serial_theta):
    """kill -9 after a checkpoint, then the same command; the worker comes by itself."""
    coordinator = cluster.coordinator(SLOW)
    worker = cluster.worker("ada")
    coordinator.wait_for("round 4 shard 1 .*leased to ada")
    coordinator.signal(signal.SIGKILL)
    coordinator.process.wait(timeout=60)
    worker.wait_for(f"connection lost: the connection to {cluster.address} broke")
    again = cluster.coordinator(SLOW, listen=cluster.address)
    assert again.end() == 0, again.text
    assert cluster.theta() == serial_theta(SLOW)
    worker.wait_for("run over: .*waiting for the next")


def test_a_coordinator_told_to_stop_saves_and_can_go_on(cluster, serial_theta):
    """SIGTERM in the middle of a round; workers with --once end as well."""
    coordinator = cluster.coordinator(SLOW)
    worker = cluster.worker("ada", "--once")
    coordinator.wait_for("round 4 shard 1 .*leased to ada")
    coordinator.signal(signal.SIGTERM)
    assert coordinator.end() == 130, coordinator.text
    assert worker.end() == 0, worker.text
    again = cluster.coordinator(SLOW, "--resume", "--local-workers", "1")
    assert again.end() == 0, again.text
    assert cluster.theta() == serial_theta(SLOW)


def test_mlpeft_stop_ends_a_run_after_its_round_and_it_can_go_on(
    cluster, serial_theta, capsys
):
    """Unlike a signal, it lets the round end, and that is no failure: exit code 0."""
    coordinator = cluster.coordinator(SLOW)
    worker = cluster.worker("ada", "--once")
    coordinator.wait_for("round 2 shard 1 .*leased to ada")
    status(coordinator=cluster.address)
    assert re.search(r"run tiny  \d/6  ", capsys.readouterr().out)
    stop(coordinator=cluster.address)
    assert coordinator.end() == 0, coordinator.text
    assert worker.end() == 0, worker.text
    assert not cluster.step(6).exists()
    again = cluster.coordinator(SLOW, "--resume", "--local-workers", "1")
    assert again.end() == 0, again.text
    assert cluster.theta() == serial_theta(SLOW)


def test_a_worker_that_is_told_no_address_finds_its_coordinator(cluster, serial_theta):
    """The worker is there first; it looks for the run by name, on this machine."""
    run = f"tiny-{os.getpid()}"  # others may be on this network
    worker = cluster.seeking_worker("ada", "--run", run, "--once")
    worker.wait_for("no coordinator .*announces itself.*--coordinator host:port dials")
    coordinator = cluster.coordinator("--discovery", f"--set=run.name={run}")
    worker.wait_for(rf"found run {run} .*; dialling {cluster.address} from 127")
    assert coordinator.end() == 0, coordinator.text
    assert worker.end() == 0, worker.text
    made = cluster.folder / "checkpoints" / run / "steps/00000006/theta.safetensors"
    assert made.read_bytes() == serial_theta()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_coordinator_without_workers_can_be_stopped(cluster, number):
    coordinator = cluster.coordinator()
    coordinator.wait_for(
        f"start one with `mlpeft-worker --coordinator {cluster.address}`"
    )
    coordinator.signal(number)
    assert coordinator.end() == 130, coordinator.text


def test_a_worker_told_to_stop_finishes_its_shard_and_leaves(cluster, serial_theta):
    coordinator = cluster.coordinator(SLOW)
    worker = cluster.worker("ada")
    coordinator.wait_for("round 2 shard 1 .*leased to ada")
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0, worker.text
    coordinator.wait_for("worker ada takes no more shards")
    coordinator.wait_for("worker ada left: it ended;.* 0 connected")
    cluster.worker("bob")
    assert coordinator.end() == 0, coordinator.text
    assert cluster.theta() == serial_theta(SLOW)

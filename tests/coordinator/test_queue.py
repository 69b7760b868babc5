"""A queue with real processes: workers move on, and kill -9 loses nothing."""

import json
import signal
import socket

import pytest
from typer.testing import CliRunner

from coordinator import queued
from coordinator.queued import Turn
from coordinator.session import EndpointError
from mlpeft.cli import app
from mlpeft.errors import ConfigError, MlpeftError
from mlpeft.queue.ending import Ending
from mlpeft.queue.store import Queue
from mlpeft.transport.security.folders import SecurityError

SLOW = "--set=meta_learning.num_inner_steps=120"
FAILS = "--set=meta_learning.inner_lr=1e30"
BOTH = "--set=cluster.min_workers=2"


@pytest.fixture
def queue(cluster, monkeypatch):
    """Adds runs, and runs them at an address that is free."""
    monkeypatch.chdir(cluster.folder)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        cluster.address = f"127.0.0.1:{taken.getsockname()[1]}"

    def command(*words: str):
        result = CliRunner().invoke(app, ["queue", *words])
        assert result.exit_code == 0, result.output
        return result.stdout

    return command


def states(command) -> list[str]:
    return [run["state"] for run in json.loads(command("list", "--json"))["runs"]]


def test_workers_move_on_past_a_failed_run_and_a_killed_queue_ends_in_the_same_bytes(
    cluster, queue, serial_theta
):
    """kill -9 of the queue in the third run; the second one failed."""
    queue("add", "tiny.yaml", BOTH)
    queue("add", "tiny.yaml", BOTH, FAILS, "--set=run.name=second")
    queue("add", "tiny.yaml", BOTH, SLOW, "--set=run.name=third")
    running = ["queue", "run", "--listen", cluster.address]
    first = cluster._start("mlpeft", running)
    workers = [cluster.worker(name) for name in ("ada", "bob")]
    workers[0].wait_for("run over: run tiny: done; run second follows")
    workers[1].wait_for("run over: run second: failed; run third follows")
    first.wait_for("queue: run 3 third starts, 0 more runs after it")
    first.wait_for("round 4 shard 1 .*leased to")
    first.signal(signal.SIGKILL)
    first.process.wait(timeout=60)
    assert states(queue) == ["done", "failed", "interrupted"]
    again = cluster._start("mlpeft", running)
    assert again.end() == 0, again.text
    workers[0].wait_for("run over: run third: done; the queue is empty")
    assert states(queue) == ["done", "failed", "done"]
    assert cluster.theta() == serial_theta()
    third = cluster.folder / "checkpoints" / "third" / "steps" / "00000006"
    assert (third / "theta.safetensors").read_bytes() == serial_theta(SLOW)
    failed = Queue(cluster.folder / "queue").runs()[1]
    assert "the inner loop diverges" in failed.reason


def test_an_address_that_cannot_be_had_is_no_fault_of_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(queued, "end_with_input", lambda: None)
    turn = Turn(tmp_path / "0003.yaml")
    for error, of_machine in (
        (EndpointError("cannot listen on head:1"), True),
        (SecurityError("no certificates"), True),
        (ConfigError("no such key"), False),
    ):
        with pytest.raises(MlpeftError), turn.reported():
            raise error
        ending = Ending.read(tmp_path / "0003.end")
        assert ending == Ending("failed", str(error), of_machine=of_machine)

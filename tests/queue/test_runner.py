"""One process after another, played by scripts; tests/coordinator has real ones."""

import json
import sys
from dataclasses import asdict
from typing import ClassVar

import pytest

from mlpeft.config import RunConfig
from mlpeft.queue import runner
from mlpeft.queue.ending import Ending
from mlpeft.queue.entry import State
from mlpeft.queue.runner import Host, run_queue
from mlpeft.queue.store import Queue, QueueError

DONE = Ending("done")
FAILED = Ending("failed", "no luck\nat all")
REFUSED = Ending("failed", "port in use", of_machine=True)


class Script(Host):
    """Plays coordinators; what each does by the name of its run."""

    scripts: ClassVar[dict[str, str]] = {}

    def command(self, queue, run):
        end = str(queue.end_file(run.number))
        return [sys.executable, "-S", "-c", self.scripts[run.name], end]


@pytest.fixture
def play(tmp_path, monkeypatch):
    """Runs a queue of scripts; the states of its runs, and what was said."""
    monkeypatch.setattr(runner, "WAIT_S", 0.01)
    monkeypatch.setattr(runner, "ASK_S", 0.01)

    def run(should_stop=lambda: False, **scripts: str):
        queue = Queue(tmp_path / "queue")
        configs = [RunConfig.from_dict({"run": {"name": name}}) for name in scripts]
        queue.add(configs, tmp_path)
        monkeypatch.setattr(Script, "scripts", scripts)
        said: list[str] = []
        with queue.held():
            run_queue(queue, Script(), say=said.append, should_stop=should_stop)
        return {run.name: (run.state, run.reason) for run in queue.runs()}, said

    return run


def written(ending: Ending, then: str = "") -> str:
    text = json.dumps(asdict(ending))
    return f"import sys; open(sys.argv[1], 'w').write({text!r}); {then}"


def test_a_run_that_fails_does_not_stop_the_next(play):
    ended, said = play(
        a=written(FAILED, "sys.exit(2)"),
        b="import os; os.kill(os.getpid(), 11)",
        c="import sys; sys.exit(3)",
        d=written(DONE),
    )
    assert ended["a"] == (State.FAILED, "no luck\nat all")
    assert ended["b"][0] is State.FAILED
    assert ended["b"][1].startswith("its coordinator was killed by SIGSEGV")
    assert ended["c"] == (
        State.FAILED,
        "its coordinator ended with exit code 3; see its log",
    )
    assert ended["d"] == (State.DONE, "")
    assert "run 1 a failed: no luck" in said
    assert said[-1] == "run 4 d is done"


def test_a_machine_that_cannot_run_any_of_them_ends_the_queue(play, tmp_path):
    with pytest.raises(QueueError, match="run 1 a waits again: port in use"):
        play(a=written(REFUSED, "sys.exit(2)"), b=written(DONE))
    states = [run.state for run in Queue(tmp_path / "queue").runs()]
    assert states == [State.WAITING, State.WAITING]


def test_a_run_that_an_operator_stops_is_not_done(play):
    ended, _ = play(a=written(Ending("stopped")), b=written(DONE))
    assert [state for state, _ in ended.values()] == [State.STOPPED, State.DONE]


def test_a_stop_reaches_the_coordinator_and_the_run_goes_on_next_time(play, tmp_path):
    """The script ends at SIGTERM with the exit code of an interrupted run."""
    ready = tmp_path / "ready"
    waits = (
        "import signal,sys,pathlib; signal.signal(15, lambda *_: sys.exit(130)); "
        f"pathlib.Path({str(ready)!r}).touch(); signal.pause()"
    )
    ended, _ = play(ready.exists, a=waits, b=written(DONE))
    assert ended["a"][0] is State.INTERRUPTED
    assert ended["b"][0] is State.WAITING

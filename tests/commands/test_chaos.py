"""`mlpeft chaos`: a quarter of a minute of it, and how it tells what it found."""

import json
import subprocess
import sys

import pytest

from mlpeft.commands.chaos import _show
from mlpeft.runtime.chaos import Verdict
from mlpeft.runtime.chaos.schedule import Fault

SEED = 1
SECONDS = 15


@pytest.mark.timeout(400)
def test_a_training_survives_what_some_seconds_bring():
    """Real processes; the seed says what happens to them, the machine how far they are.

    It ends with the bytes of the run without faults and with no process left.
    """
    command = [sys.executable, "-m", "mlpeft.cli", "chaos", "--json"]
    command += ["--seed", str(SEED), "--minutes", str(SECONDS / 60)]
    done = subprocess.run(
        [*command, "--set", "meta_learning.num_meta_iterations=60"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = json.loads(done.stdout)
    assert verdict["ok"]
    assert verdict["same_bytes"]
    assert verdict["orphans"] == 0
    assert verdict["problems"] == []
    assert sum(verdict["survived"].values()) >= 3
    assert verdict["rounds"] > 0


def verdict(**changes):
    values = {
        "seed": 1,
        "seconds": 60.0,
        "workers": 3,
        "runs": 2,
        "rounds": 240,
        "survived": dict.fromkeys(Fault, 2),
        "impossible": {},
        "longest_stall_s": 4.25,
        "goodput": 0.5,
        "same_bytes": True,
        "orphans": 0,
    }
    return Verdict(**values | changes)


@pytest.mark.parametrize(
    "changes",
    [{"same_bytes": False}, {"orphans": 1}, {"problems": ["worker-1 ended"]}],
)
def test_one_broken_promise_is_a_bad_verdict(changes):
    assert verdict().is_good
    assert not verdict(**changes).is_good


def test_the_verdict_says_what_happened_and_what_could_not(capsys):
    why = "not on this system"
    _show(verdict(impossible={Fault.FILL_DISK: why}, problems=["a [bad] thing"]))
    text = capsys.readouterr().out
    assert "worker killed            2" in text
    assert "disk filled              not on this system" in text
    assert "240 rounds in 2 runs with 3 workers in 60 s; the same bytes as" in text
    assert "the same bytes as the run without faults" in text
    assert "longest time without a finished round: 4.2 s" in text
    assert "goodput (seconds of tasks that counted / seconds of workers): 50%" in text
    assert "problem a [bad] thing" in text

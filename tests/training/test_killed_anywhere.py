"""kill -9 between any two calls that touch the run's folder: the same bytes in the end.

The child counts what Python's audit hooks tell of the file system (open, rename,
remove, mkdir ...) and kills itself at a call that a seed chooses. Whoever starts it
again says nothing but the same command.
"""

import json
import random
import signal
import subprocess
import sys

import pytest

from mlpeft import params
from mlpeft.training import checkpoint
from mlpeft.training.loop import train
from tests.training.test_run_folder import config

CHILD = """
import os, signal, sys
from mlpeft.training.runner import ShardRunner
from mlpeft.training.loop import train
from tests.training.test_killed_anywhere import settings

folder, calls = sys.argv[1], int(sys.argv[2])
runner = ShardRunner.from_config(settings(folder))

def count(event, arguments):
    global calls
    if event in ("open", "shutil.rmtree") or event.startswith("os."):
        if any(folder in str(argument) for argument in arguments):
            calls -= 1
            if not calls:
                os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count)
train(settings(folder), runner=runner, resume=None)
"""


def settings(folder):
    """Twelve meta-iterations, each saved, of which two are kept."""
    return config(folder, "meta_learning.save_interval=1", "paths.keep_last=2")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(settings(tmp_path_factory.mktemp("whole")))


def records(run_dir):
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return [{**json.loads(line), "time": None} for line in lines]


def test_a_run_killed_again_and_again_ends_in_the_same_bytes(tmp_path, whole):
    rng = random.Random(2)  # noqa: S311 - no secret
    deaths = 0
    for _ in range(30):
        # Up to three checkpoints' worth of calls: some children get nowhere.
        calls = rng.randrange(1, 100)
        child = subprocess.run(
            [sys.executable, "-c", CHILD, str(tmp_path), str(calls)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL, child.stderr
        deaths += 1
    assert deaths > 3
    run_dir = tmp_path / "run"
    found, skipped = checkpoint.newest(run_dir)
    assert skipped == []
    assert found.progress.iteration == 12
    assert params.digest(found.meta) == params.digest(whole.meta)
    assert checkpoint.best(run_dir).name == checkpoint.best(whole.run_dir).name
    assert records(run_dir) == records(whole.run_dir)
    assert sorted(path.name for path in (run_dir / "steps").iterdir()) == sorted(
        path.name for path in (whole.run_dir / "steps").iterdir()
    )

"""`mlpeft replay`."""

import json

import pytest
from typer.testing import CliRunner

from mlpeft.cli import app
from mlpeft.errors import CheckpointError
from mlpeft.training import accepted
from mlpeft.training.accepted import Accepted
from mlpeft.training.loop import train
from tests.training.test_loop import config


@pytest.fixture
def run(tmp_path):
    return train(
        config(
            tmp_path,
            meta_learning__num_meta_iterations=4,
            meta_learning__save_interval=2,
        )
    ).run_dir


def test_a_run_of_one_process_has_the_bytes_of_its_replay(run):
    done = CliRunner().invoke(app, ["replay", str(run)])
    assert done.exit_code == 0, done.output
    assert "meta-iteration 4: same bytes, theta " in done.output
    assert "checkpoints have the bytes of the replay" in done.output


def test_a_run_that_counted_something_else_is_told_and_ends_with_1(run):
    (run / accepted.FILE).write_text(Accepted(1, (), ((0, 0),)).line())
    done = CliRunner().invoke(app, ["replay", str(run), "--json"])
    assert done.exit_code == 1
    found = json.loads(done.output.splitlines()[-1])
    assert not found["same"]
    assert not found["steps"][-1]["same"]
    plain = CliRunner().invoke(app, ["replay", str(run)])
    assert "OTHER BYTES" in plain.output
    assert "chip family, BLAS" in plain.output


def test_a_folder_without_a_run_is_named(tmp_path):
    done = CliRunner().invoke(app, ["replay", str(tmp_path)])
    assert isinstance(done.exception, CheckpointError)
    assert "give a run's folder" in str(done.exception)

"""`mlpeft pause`, `resume`, `stop`, `drain` and `release`, as they are typed."""

import sys

import pytest

from mlpeft.cli import main
from mlpeft.runtime.compute import Prepared
from mlpeft.runtime.coordinator.executor import Runtime
from tests.runtime.toy import CONFIG, VERSIONS, ToyRunner


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    """A coordinator with one in-process worker, and where commands look for it."""
    monkeypatch.setenv("MLPEFT_CONFIG_DIR", str(tmp_path / "config"))
    made = Runtime(
        CONFIG, "view", VERSIONS, lambda _: Prepared(ToyRunner(), "toy device", "view")
    )
    monkeypatch.setenv(
        "MLPEFT_COORDINATOR", made.start("127.0.0.1", 0, local_workers=1)
    )
    yield made
    made.close("done")


@pytest.fixture
def mlpeft(monkeypatch, capsys):
    """Runs the command; gives exit code and what it says."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["mlpeft", *words])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return end.value.code or 0, said.out + said.err

    return run


def test_pausing_and_going_on(runtime, mlpeft):
    code, said = mlpeft("pause")
    assert (code, runtime.status().paused) == (0, "by a user")
    assert "continue with mlpeft resume" in said
    code, said = mlpeft("resume")
    # The coordinator in this process may add lines of its log.
    assert (code, said.splitlines()[0]) == (0, "resumed: shards are leased again")
    assert runtime.status().paused == ""


def test_stopping(runtime, mlpeft):
    assert not runtime.stopping()
    code, said = mlpeft("stop")
    assert (code, runtime.stopping()) == (0, True)
    assert "run run is saved and ends after this round" in said


def test_draining_and_releasing_name_a_worker(runtime, mlpeft):
    while not runtime.status().workers:
        pass
    assert mlpeft("release", "local-0")[0] == 0
    code, said = mlpeft("drain", "local-0")
    assert code == 0
    assert "local-0 finishes its shard and ends" in said
    while runtime.status().workers:
        pass
    for command in ("drain", "release"):
        code, said = mlpeft(command, "local-0")
        assert code == 2
        assert "no worker 'local-0' is connected; connected: nobody" in said


def test_who_steers_nobody_is_told_so(mlpeft, tmp_path, monkeypatch):
    monkeypatch.setenv("MLPEFT_CONFIG_DIR", str(tmp_path))
    code, said = mlpeft("pause", "--coordinator", "127.0.0.1:9")
    assert code == 2
    assert "no coordinator answers at 127.0.0.1:9" in said

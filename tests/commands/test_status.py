"""`mlpeft status` against a coordinator in this process."""

import json

import pytest

from mlpeft.cluster.coordinator.machine import CoordinatorMachine
from mlpeft.cluster.overview import Bytes, Overview, RunProgress
from mlpeft.cluster.sim import TOY_SIZE, toy_shards
from mlpeft.commands import status as command
from mlpeft.commands.status import status
from mlpeft.errors import ConfigError, MlpeftError
from mlpeft.runtime.client import CoordinatorGoneError
from mlpeft.runtime.compute import Prepared
from mlpeft.runtime.coordinator.executor import ClusterExecutor, Runtime
from mlpeft.runtime.worker.enrol import enrol
from mlpeft.transport.discovery import find
from mlpeft.transport.security import identity
from mlpeft.transport.security.authority import Authority
from mlpeft.transport.security.folders import SecurityError, worker_folder
from tests.cluster.builders import policy_with
from tests.runtime.toy import CONFIG, VERSIONS, ToyRunner


@pytest.fixture(autouse=True)
def not_joined(tmp_path, monkeypatch):
    monkeypatch.setenv("MLPEFT_CONFIG_DIR", str(tmp_path / "config"))


@pytest.fixture
def address():
    """A coordinator whose in-process worker has done a round."""
    import numpy as np

    runtime = Runtime(
        CONFIG, "view", VERSIONS, lambda _: Prepared(ToyRunner(), "toy device", "view")
    )
    listening = runtime.start("127.0.0.1", 0, local_workers=1)
    executor = ClusterExecutor(runtime)
    executor.run(4, {"w": np.ones(TOY_SIZE, dtype=np.float32)}, toy_shards(0))
    yield listening
    executor.close()


def test_the_status_names_run_workers_and_what_they_did(address, capsys):
    status(coordinator=address)
    shown = capsys.readouterr().out
    assert "run run" in shown
    assert "no round is open" in shown
    assert "local-0" in shown
    assert "toy device" in shown


def test_scripts_get_json(address, capsys):
    status(coordinator=address, json_output=True)
    record = json.loads(capsys.readouterr().out)
    assert (record["run"], record["rounds_opened"], record["version"]) == ("run", 1, 4)
    assert [worker["shards_done"] for worker in record["workers"]] == [3]


@pytest.fixture
def secured(tmp_path):
    """A coordinator with TLS that this machine has joined."""
    authority = Authority.create(tmp_path / "ca", ["127.0.0.1"])
    config = CONFIG.with_changes(cluster={"join_port": 0})
    runtime = Runtime(
        config,
        "view",
        VERSIONS,
        lambda _: Prepared(ToyRunner(), "toy device", "view"),
        authority,
    )
    runtime.start("127.0.0.1", 0)
    enrol(authority.new_token(runtime.join_address), worker_folder(), "ada")
    yield authority
    runtime.close("done")


def test_who_has_joined_needs_no_address(secured, capsys):
    status()
    assert "no round is open" in capsys.readouterr().out


def test_who_is_shut_out_is_told_so(secured):
    secured.revoke("ada")
    with pytest.raises(MlpeftError, match="certificate of ada was revoked"):
        status()


def test_who_asks_in_the_clear_is_told_to_join(secured):
    address = identity.load(worker_folder()).address
    with pytest.raises(MlpeftError, match="requires TLS and a certificate"):
        status(coordinator=address, insecure=True)


def test_off_loopback_nothing_is_said_in_the_clear():
    with pytest.raises(SecurityError, match="mlpeft-worker join TOKEN"):
        status(coordinator="192.0.2.1:50051")


def test_a_coordinator_that_is_not_there_is_named():
    with pytest.raises(MlpeftError, match=r"no coordinator answers at 127\.0\.0\.1:9;"):
        status(coordinator="127.0.0.1:9")
    with pytest.raises(ConfigError, match="expected host:port"):
        status(coordinator="lab")


class Glances:
    """Answers to --watch, one a look; then Ctrl-C."""

    def __init__(self, monkeypatch, answers):
        self.answers = iter(answers)
        monkeypatch.setattr(command, "_ask", self.ask)
        monkeypatch.setattr(find, "reach", self.reach)
        monkeypatch.setattr(command.time, "sleep", lambda _: None)

    async def reach(self, address):
        return "127.0.0.1"

    def ask(self, address, shown):
        answer = next(self.answers, KeyboardInterrupt())
        if isinstance(answer, BaseException):
            raise answer
        return answer


GONE = CoordinatorGoneError("no coordinator answers at 127.0.0.1:50051; is it running?")


def overview(iteration=0, session="s"):
    return Overview(
        run="digits",
        session=session,
        progress=RunProgress(iteration, 600),
        stopping=False,
        bytes_moved=Bytes(),
        cluster=CoordinatorMachine(session, policy_with()).status(0.0),
    )


def test_watching_as_json_prints_a_line_a_change(monkeypatch, capsys):
    """A restart in between: gone is said once, and its return."""
    looks = [overview(1), overview(1), overview(2), GONE, GONE, overview(2, "t")]
    Glances(monkeypatch, looks)
    status(watch=True, json_output=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("gone", line.get("session")) for line in lines] == [
        "s",
        "s",
        "no coordinator answers at 127.0.0.1:50051",
        "t",
    ]
    assert all(line["time"] > 1e9 for line in lines)


def test_watching_where_lines_cannot_be_redrawn_prints_what_changed(
    monkeypatch, capsys
):
    Glances(monkeypatch, [overview(1), overview(1), GONE, overview(2)])
    status(watch=True)
    shown = capsys.readouterr().out
    assert [shown.count(text) for text in ("1/600", "waiting for one", "2/600")] == [
        1,
        1,
        1,
    ]


def test_watching_on_a_terminal_keeps_the_last_picture_of_one_that_is_gone(
    monkeypatch, capsys
):
    monkeypatch.setattr("mlpeft.reporting.terminal.is_interactive", lambda _: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    Glances(monkeypatch, [GONE, overview(17), GONE])
    status(watch=True)
    shown = capsys.readouterr().out
    assert "no coordinator answers at 127.0.0.1:50051 for 0 s" in shown
    screen, _, after = shown.rpartition("\x1b[?1049l")
    assert "this was seen last" in screen
    assert "17/600" in after


def test_what_must_be_put_right_ends_the_watch(monkeypatch):
    Glances(monkeypatch, [overview(1), MlpeftError("revoked")])
    with pytest.raises(MlpeftError, match="revoked"):
        status(watch=True)

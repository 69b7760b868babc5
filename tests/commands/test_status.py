"""`mlpeft status` against a coordinator in this process."""

import json

import pytest

from coordinator.runtime import ClusterExecutor, Runtime
from mlpeft.cluster.sim import TOY_SIZE, toy_shards
from mlpeft.commands.status import status
from mlpeft.errors import ConfigError, MlpeftError
from mlpeft.node.compute import Prepared
from mlpeft.security import identity
from mlpeft.security.authority import Authority
from mlpeft.security.folders import SecurityError, worker_folder
from tests.node.toy import CONFIG, VERSIONS, ToyRunner
from worker.enrol import enrol


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
    assert "run run: no round is open" in shown
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
    assert "run run: no round is open" in capsys.readouterr().out


def test_who_is_shut_out_is_told_so(secured):
    secured.revoke("ada")
    with pytest.raises(MlpeftError, match="certificate of ada was revoked"):
        status()


def test_who_asks_in_the_clear_is_told_to_join(secured):
    address = identity.load(worker_folder()).address
    with pytest.raises(MlpeftError, match="wants TLS and a certificate"):
        status(coordinator=address, insecure=True)


def test_off_loopback_nothing_is_said_in_the_clear():
    with pytest.raises(SecurityError, match="mlpeft-worker join TOKEN"):
        status(coordinator="192.0.2.1:50051")


def test_a_coordinator_that_is_not_there_is_named():
    with pytest.raises(MlpeftError, match=r"no coordinator answers at 127\.0\.0\.1:9;"):
        status(coordinator="127.0.0.1:9")
    with pytest.raises(ConfigError, match="expected host:port"):
        status(coordinator="lab")

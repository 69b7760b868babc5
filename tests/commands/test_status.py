"""`mlpeft status` against a coordinator in this process."""

import json

import pytest

from coordinator.runtime import ClusterExecutor, Runtime
from mlpeft.cluster.sim import TOY_SIZE, toy_shards
from mlpeft.commands.status import status
from mlpeft.errors import ConfigError, MlpeftError
from mlpeft.node.compute import Prepared
from tests.node.toy import CONFIG, VERSIONS, ToyRunner


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


def test_a_coordinator_that_is_not_there_is_named():
    with pytest.raises(MlpeftError, match=r"no coordinator answers at 127\.0\.0\.1:9;"):
        status(coordinator="127.0.0.1:9")
    with pytest.raises(ConfigError, match="expected host:port"):
        status(coordinator="lab")

"""An event loop that ends by itself ends the run, and does not hang it."""

import sys

import pytest

from mlpeft.runtime.coordinator.executor import (
    ClusterExecutor,
    LoopEndedError,
    Runtime,
)
from tests.runtime.toy import CONFIG, VERSIONS


def test_a_dead_loop_ends_the_round_with_a_message():
    runtime = Runtime(CONFIG, "same view", VERSIONS, pytest.fail)
    runtime.start("127.0.0.1", 0)
    runtime._loop.call_soon_threadsafe(sys.exit, "a bug")
    with pytest.raises(LoopEndedError, match=r"bug \(SystemExit\('a bug'\)\)"):
        ClusterExecutor(runtime).run(0, {}, [])
    runtime.close("the end")

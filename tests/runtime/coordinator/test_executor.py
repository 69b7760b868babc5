"""The executor of a cluster."""

import threading

from mlpeft.runtime.compute import Prepared
from mlpeft.runtime.coordinator.executor import ClusterExecutor, Runtime
from tests.runtime.toy import VERSIONS
from tests.training.executor_contract import ExecutorContract


class Telling:
    """A runner that asks how far the round is whenever a shard begins.

    The status is all that a cluster tells of a round's progress.
    """

    def __init__(self, runner, progress):
        self._runner = runner
        self._progress = progress
        self._asking = threading.Lock()  # answers must not overtake each other
        self.runtime = None

    def run(self, meta, shard, progress=lambda _: None):
        with self._asking:
            status = self.runtime.status()
            if status.shards:  # none: a backup that starts as its round closes
                self._progress(status.shards_in, status.shards)
        return self._runner.run(meta, shard, progress)


class TestClusterExecutor(ExecutorContract):
    """A real coordinator, and three workers in threads of this process."""

    retries = True

    def make(self, runner, config, should_stop, progress):
        telling = Telling(runner, progress)
        runtime = Runtime(
            config, "view", VERSIONS, lambda _: Prepared(telling, "toy", "view")
        )
        telling.runtime = runtime
        runtime.start("127.0.0.1", 0, local_workers=3)
        return ClusterExecutor(runtime, should_stop)

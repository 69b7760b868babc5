"""The executor of one process."""

from mlpeft.cluster.sim import toy_shards
from mlpeft.training.executor import LocalExecutor
from mlpeft.work import RoundInterruptedError
from tests.training.executor_contract import META, ExecutorContract


class TestLocalExecutor(ExecutorContract):
    retries = False

    def make(self, runner, config, should_stop, progress):
        def tell(_, done, of):
            if should_stop():
                raise RoundInterruptedError("someone asked to stop")
            progress(done, of)

        return LocalExecutor(runner, tell)

    def test_it_tells_of_every_task_up_to_the_last(self, executor):
        told = []
        made = executor(progress=lambda *seen: told.append(seen))
        made.run(0, META, toy_shards(0))
        assert told == [(done, 6) for done in range(7)]

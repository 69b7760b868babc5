"""What an executor on an engine must do, besides what every executor must."""

import os
import signal

import pytest

from mlpeft.runtime.engines.engine import EngineError
from mlpeft.runtime.engines.executor import EngineExecutor
from mlpeft.runtime.engines.shard import RunSpec, versions_with_blas
from tests.runtime.engines.far import Prepare
from tests.training.executor_contract import (
    META,
    ExecutorContract,
    serial_total,
    total,
    toy_shards,
)

ATTEMPTS = 3
KILLED = r"(?s)shard \d of .*(were killed, or crashed|a worker that went: lost)"
"""Dask blames all shards that a dead worker had; theta may have gone with it, too."""


class EngineContract(ExecutorContract):
    """Inherit it, and say how an engine is made; its workers are processes."""

    retries = True

    @pytest.fixture(autouse=True)
    def _served(self, hooks):
        self.hooks = hooks
        self.differs = {}

    def engine(self, spec):
        """An engine for a run, each of whose shards is tried `ATTEMPTS` times."""
        raise NotImplementedError

    def make(self, runner, config, should_stop, progress):
        self.hooks.hook = runner._before
        prepare = Prepare(self.hooks.address)
        parts = {"versions": versions_with_blas(), "fingerprint": "view"}
        spec = RunSpec(config.to_yaml(), prepare=prepare, **parts | self.differs)
        return EngineExecutor(
            self.engine(spec),
            config,
            should_stop,
            lambda _, done, of: progress(done, of),
        )

    def test_a_shard_whose_worker_is_killed_is_computed_again_to_the_same_bytes(
        self, executor
    ):
        killed = []

        def kill_once(shard, _):
            if shard.index == 1 and not killed:
                killed.append(self.hooks.asking.pid)
                os.kill(killed[0], signal.SIGKILL)

        result = executor(kill_once).run(0, META, toy_shards(0))
        assert total(result) == serial_total(META, toy_shards(0))
        assert result.totals.count == 6
        assert len(killed) == 1

    def test_a_shard_that_kills_its_workers_is_an_error_and_the_next_round_works(
        self, executor
    ):
        deadly = [True]

        def kill(shard, _):
            if shard.index == 1 and deadly:
                os.kill(self.hooks.asking.pid, signal.SIGKILL)

        made = executor(kill)
        with pytest.raises(EngineError, match=KILLED):
            made.run(0, META, toy_shards(0))
        deadly.clear()
        result = made.run(0, META, toy_shards(0))
        assert total(result) == serial_total(META, toy_shards(0))

    def test_workers_of_other_versions_are_refused_in_the_words_of_our_cluster(
        self, executor
    ):
        ours = versions_with_blas()
        self.differs = {"versions": type(ours)(9, ours.mlpeft, "0.0", "none")}
        made = executor()
        with pytest.raises(
            EngineError,
            match=rf"versions differ: .*MLX {ours.mlx} on the worker, 0.0 on the "
            r"coordinator; BLAS .* on the worker, none on the coordinator\. To take",
        ):
            made.run(0, META, toy_shards(0))

    def test_workers_that_see_the_run_differently_are_refused(self, executor):
        self.differs = {"fingerprint": "another view"}
        with pytest.raises(EngineError, match="sees the run differently"):
            executor().run(0, META, toy_shards(0))

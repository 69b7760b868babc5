"""The executor on Dask: a real scheduler, and workers in processes of their own."""

import os
import signal

import pytest

from mlpeft.runtime.engines.engine import EngineError
from mlpeft.runtime.engines.executor import EngineExecutor
from mlpeft.runtime.engines.kinds import EngineKind
from mlpeft.runtime.engines.session import train_on_engine
from mlpeft.runtime.engines.shard import RunSpec, versions_with_blas
from mlpeft.training.loop import train
from tests.runtime.engines.engine_contract import ATTEMPTS, KILLED, EngineContract
from tests.training.executor_contract import CONFIG, META, toy_shards

distributed = pytest.importorskip(
    "distributed", reason="the extra `dask` is not installed"
)
dask = pytest.importorskip("mlpeft.runtime.engines.dask")
DaskEngine = dask.DaskEngine

SPEC = RunSpec("", versions_with_blas(), "view")


@pytest.fixture(scope="module")
def cluster():
    """Two workers; the engines of tests connect to them."""
    engine = DaskEngine.start(SPEC, 2, ATTEMPTS)
    yield engine
    engine.close()


def test_a_training_on_dask_has_the_bytes_of_one_process(cluster, tmp_path):
    """Stopped after two meta-iterations, and resumed; updates are compressed."""

    def config(name):
        return CONFIG.with_changes(
            run={"name": name},
            meta_learning={"num_meta_iterations": 4, "meta_batch_size": 2},
            model={"hidden_dim": 4},
            compute={"strategy": "loop", "shard_size": 1},
            evaluation={"num_val_episodes": 2},
            paths={"checkpoint_dir": str(tmp_path)},
            cluster={"compression": "int8"},
        )

    class StopsAtTwo:
        seen = 0

        def __getattr__(self, _):
            return lambda *_: None

        def iteration(self, iteration, _):
            self.seen = iteration

    reporter = StopsAtTwo()
    first = train_on_engine(
        config("dask"),
        EngineKind.DASK,
        cluster.address,
        reporter=reporter,
        should_stop=lambda: reporter.seen == 2,
    )
    assert (first.reason, first.iteration) == ("stopped", 2)
    resumed = train_on_engine(
        config("dask"),
        EngineKind.DASK,
        cluster.address,
        reporter=StopsAtTwo(),
        resume=True,
    )
    alone = train(config("alone"))
    assert resumed.reason == "done"
    assert {name: leaf.tobytes() for name, leaf in resumed.meta.items()} == {
        name: leaf.tobytes() for name, leaf in alone.meta.items()
    }


class TestDaskExecutor(EngineContract):
    @pytest.fixture(autouse=True)
    def _started(self, cluster):
        self.address = cluster.address
        self.scheduler = cluster._cluster.scheduler

    def engine(self, spec):
        return DaskEngine.connect(spec, self.address, ATTEMPTS, 0.0)

    def test_a_shard_that_kills_its_workers_is_an_error_and_the_next_round_works(
        self, executor, monkeypatch
    ):
        """The first death is enough here: each costs the start of another process."""
        monkeypatch.setattr(self.scheduler, "allowed_failures", 0)

        def kill(shard, _):
            if shard.index == 1:
                os.kill(self.hooks.asking.pid, signal.SIGKILL)

        once = CONFIG.with_changes(cluster={"max_attempts": 1})
        with pytest.raises(EngineError, match=KILLED):
            executor(kill, once).run(0, META, toy_shards(0))


def test_an_engine_without_workers_or_scheduler_is_an_error(monkeypatch):
    monkeypatch.setattr(dask, "CONNECT_S", 0.3)
    monkeypatch.setattr(dask, "SCATTER_S", 0.1)
    config = CONFIG.with_changes(engine={"wait_s": 0.2})
    empty = distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0")
    engine = DaskEngine.connect(SPEC, empty.scheduler_address, ATTEMPTS, 0.0)
    made = EngineExecutor(engine, config)
    with pytest.raises(EngineError, match=r"has 0 of 1 worker after 0\.2 s; start"):
        made.run(0, META, toy_shards(0))
    empty.close()
    with pytest.raises(EngineError, match=r"has ended, or cannot be reached"):
        made.run(0, META, toy_shards(0))
    made.close()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense"])
def test_an_address_where_nobody_answers_is_an_error(address):
    with pytest.raises(EngineError, match=f"no Dask scheduler answers at {address}"):
        DaskEngine.connect(SPEC, address, ATTEMPTS, 0.0)

"""The check of outliers in real runs: the algorithm says what it measures."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mlpeft import params
from mlpeft.config import RunConfig
from mlpeft.meta import state
from mlpeft.runtime.compute import Prepared
from mlpeft.runtime.coordinator.executor import ClusterExecutor, Runtime
from mlpeft.runtime.coordinator.norms_file import FILE, MOST_BYTES, NormsFile
from mlpeft.training.loop import train
from mlpeft.training.runner import ShardRunner
from mlpeft.work import Kind
from tests.runtime.toy import VERSIONS

LIE = (7, 1)
"""Round and shard of the lie; five rounds of four shards are enough to tell."""


def config(folder, algorithm, inner_state):
    return RunConfig.from_dict(
        {
            "meta_learning": {
                "algorithm": algorithm,
                "inner_optimizer": "adam",
                "inner_state": inner_state,
                "inner_lr": 0.01,
                "outer_lr": 0.1,
                "meta_batch_size": 4,
                "num_meta_iterations": 9,
            },
            "task_distribution": {"num_train_tasks": 8, "num_val_tasks": 4},
            "model": {"hidden_dim": 8},
            "evaluation": {"num_val_episodes": 2},
            "compute": {"shard_size": 1},
            "paths": {"checkpoint_dir": str(folder)},
        }
    )


class LyingOnce(ShardRunner):
    """Whoever computes that shard first makes theta's leaves larger by a factor."""

    def run(self, meta, shard, progress=lambda _: None):
        update = super().run(meta, shard, progress)
        if shard.kind is Kind.TRAIN and (shard.round, shard.index) == LIE:
            self.computed.append(shard)
            if len(self.computed) == 1:
                theta, carried = state.split(update.total)
                lie = params.scale(theta, np.float32(self.factor))
                return replace(update, total=state.join(lie, carried))
        return update


@pytest.mark.parametrize(
    ("algorithm", "inner_state", "factor"),
    [("reptile", "reset", 5), ("reptile", "carry", 5), ("fomaml", "reset", 10)],
)
def test_a_lie_is_refused_and_no_honest_update_is(
    tmp_path, algorithm, inner_state, factor
):
    """Theta ends in the bytes of a run without a liar.

    Theta's norm is 2.6, honest displacements have one of 0.5, so the limit is 2 or a
    little more. Reptile's lie is 4 x 2.6 = 10 from theta. The carried count of steps
    moves by 5 in each round: looked at, it would lift the limit to 20. FOMAML's lie has
    a norm of 10 x 0.5 = 5. Measured from theta it would hide: the limit would be
    4 x 2.6 = 10.
    """
    settings = config(tmp_path / "honest", algorithm, inner_state)
    honest = train(settings)
    runner = ShardRunner.from_config(
        settings.with_changes(paths={"checkpoint_dir": tmp_path / "lied"})
    )
    computed = []

    def prepare(_):
        liar = LyingOnce.from_config(runner.config)
        liar.computed, liar.factor = computed, factor
        return Prepared(liar, "toy device", "view")

    runtime = Runtime(runner.config, "view", VERSIONS, prepare)
    runtime.start("127.0.0.1", 0, local_workers=2)
    try:
        lied = train(runner.config, runner=runner, executor=ClusterExecutor(runtime))
        refused = runtime.status().refused
    finally:
        runtime.close("done")
    assert refused == 1
    assert len(computed) == 2
    assert params.digest(lied.meta) == params.digest(honest.meta)


def test_what_is_usual_survives_a_restart_of_the_coordinator(tmp_path, caplog):
    """The file beside the checkpoints; one of another form is named and not used."""
    settings = config(tmp_path, "reptile", "reset").with_changes(
        meta_learning={"num_meta_iterations": 6}
    )
    runner = ShardRunner.from_config(settings)

    def session(resume):
        runtime = Runtime(
            runner.config,
            "view",
            VERSIONS,
            lambda _: Prepared(runner, "toy device", "view"),
        )
        runtime.start("127.0.0.1", 0, local_workers=1)
        try:
            train(
                runner.config,
                runner=runner,
                executor=ClusterExecutor(runtime),
                reporter=NormsFile(runtime),
                resume=resume,
            )
            return runtime.norms()
        finally:
            runtime.close("done")

    known = session(resume=False)
    assert [len(norms) for norms in known.values()] == [24]
    file = tmp_path / "run" / FILE
    assert json.loads(file.read_text()) == known
    assert session(resume=True) == known
    for text in ('{"ada": [-1.0]}', "[]", "{", "x" * (MOST_BYTES + 1), "[" * 100_000):
        file.write_text(text)
        caplog.clear()
        assert session(resume=True) == {}
        assert "norms.json is not used: " in caplog.text

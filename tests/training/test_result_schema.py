"""What a runner returns is what the coordinator expects, for every kind of run."""

import pytest

from mlpeft.cluster.validation import reject_reason
from mlpeft.config import RunConfig
from mlpeft.training.plan import train_shards, validation_shards
from mlpeft.training.runner import ShardRunner, result_schema
from tests.golden import cases

pytest.importorskip("tokenizers", reason="install it with: pip install tokenizers")
pytest.importorskip("mlx_lm", reason="install it with: pip install 'mlpeft[lm]'")
pytest.importorskip("sklearn", reason="install it with: pip install scikit-learn")

SINUSOID = {"task_distribution": {"task_families": ["sinusoid"], "train_query_size": 0}}


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    made = cases.configurations(tmp_path_factory.mktemp("cases"))
    return made | {"regression": SINUSOID}


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("reptile_loop", "acc"),
        ("reptile_carried_adam_vmap", "acc"),
        ("fomaml_compiled", "acc"),
        ("encoder_lora_loop", "acc"),
        ("language_model_lora", "exact"),
        ("regression", None),
    ],
)
def test_honest_shards_pass_the_check_of_their_own_run(name, share, trees):
    runner = ShardRunner.from_config(RunConfig.from_dict(trees[name]))
    results = result_schema(runner.config)
    assert results.share == share
    meta = runner.initial_meta()
    shards = [
        train_shards(runner.config, runner.tasks, 0)[0],
        validation_shards(runner.config, runner.tasks, 0)[0],
    ]
    for shard in shards:
        update = runner.run(meta, shard)
        assert update.per_task.keys() == results.of(shard.kind).keys()
        assert reject_reason(shard, runner.schema, results, update) is None

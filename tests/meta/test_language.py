"""Meta-learning an adapter of a language model, from files to scores."""

from __future__ import annotations

import json
from itertools import permutations

import pytest

from mlpeft import params
from mlpeft.config import RunConfig
from mlpeft.evaluation.evaluate import evaluate
from mlpeft.meta.learner import ReptileLearner
from mlpeft.models.losses import cross_entropy_loss
from mlpeft.models.pretrained.causal_lm import read_causal_lm
from mlpeft.runtime import fingerprint
from mlpeft.tasks.episode import TaskConfig
from mlpeft.training.executor import LocalExecutor
from mlpeft.training.loop import train
from mlpeft.training.runner import ShardRunner
from mlpeft.training.trained import load_trained
from tests.models.pretrained import tiny_lm

pytest.importorskip("mlx_lm", reason="install it with: pip install 'mlpeft[lm]'")


@pytest.fixture
def config(tmp_path) -> RunConfig:
    """Say the prompt again and then the task's own letter."""
    tiny_lm.write(tmp_path / "model")
    rows = [
        {"task": letter, "prompt": "".join(word), "completion": "".join(word) + letter}
        for letter in "mnopqrstuv"
        for word in list(permutations("cdef", 2))[:8]
    ]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return RunConfig.from_dict(
        {
            "meta_learning": {
                "meta_batch_size": 2,
                "num_meta_iterations": 12,
                "inner_lr": 0.01,
                "inner_optimizer": "adam",
                "outer_lr": 1.0,
                "num_inner_steps": 3,
                "eval_interval": 12,
            },
            "task_distribution": {
                "task_families": ["completions"],
                "k_shot": 4,
                "query_size": 4,
                "train_query_size": 0,
                "num_train_tasks": None,
                "num_val_tasks": None,
                "num_test_tasks": None,
                "task_params": {
                    "path": str(tmp_path / "data.jsonl"),
                    "template": "{prompt}?",
                },
            },
            "model": {"backbone": "causal_lm", "weights": str(tmp_path / "model")},
            "peft": {"method": "lora", "rank": 4},
            "compute": {"strategy": "loop"},
            "evaluation": {
                "num_val_episodes": 6,
                "num_test_episodes": 6,
                "steps": [0],
                "num_inner_steps": 3,
            },
            "paths": {"checkpoint_dir": str(tmp_path / "runs")},
        }
    )


def test_a_run_meta_learns_an_adapter_and_reports_loss_and_exact_match(config):
    runner = ShardRunner.from_config(config)
    result = train(config, runner=runner)
    assert {name.rpartition(".")[2] for name in result.meta} == {"lora_a", "lora_b"}
    lines = (result.run_dir / "metrics.jsonl").read_text().splitlines()
    losses = [row["loss"][-1] for row in map(json.loads, lines) if "episodes" in row]
    assert losses[-1] < 0.8 * losses[0]
    assert result.best is not None
    assert result.best.loss[-1] == pytest.approx(losses[-1])
    scores = evaluate(load_trained(result.run_dir))
    assert scores.acc is None
    assert scores.exact is not None
    assert scores.loss[-1] < scores.loss[0]


def test_how_the_base_is_held_is_recorded_with_the_run(config):
    """`auto` would let a Mac and a Linux machine of one cluster differ."""
    runner = ShardRunner.from_config(config)
    assert runner.config.model.base_dtype in ("stored", "float32")
    other = config.with_changes(model={"base_dtype": "bfloat16"})
    assert fingerprint.run_fingerprint(
        ShardRunner.from_config(other)
    ) != fingerprint.run_fingerprint(runner)


def test_the_same_round_gives_the_same_bytes(config):
    from mlpeft.training.plan import train_shards

    digests = set()
    for _ in range(2):
        runner = ShardRunner.from_config(config)
        shards = train_shards(runner.config, runner.tasks, 0)
        result = LocalExecutor(runner).run(0, runner.initial_meta(), shards)
        digests.add(params.digest(result.totals.total))
    assert len(digests) == 1


def test_the_learner_takes_a_language_model_as_any_module(config, tmp_path):
    """Labels of -1 are no mistake there."""
    from mlpeft.config import PeftSection
    from mlpeft.peft.wrap import wrap
    from mlpeft.tasks.distribution import TaskDistribution

    settings = config.task_distribution.task_params
    tasks = TaskDistribution(
        [
            TaskConfig(
                "t",
                "completions",
                input_dim=8,
                support_size=4,
                query_size=4,
                task_params=settings | {"tokenizer": str(tmp_path / "model")},
            )
        ]
    )
    model = read_causal_lm(str(tmp_path / "model"))
    wrap(model, PeftSection(method="lora"))
    learner = ReptileLearner(model, 0.1, 1.0, 2, strategy="loop")
    metrics = learner.meta_train_step([tasks.sample_episode()[1:]], cross_entropy_loss)
    assert metrics["param_diff"] > 0

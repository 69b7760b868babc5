"""Joint training: what a task returns, its head, and the bytes of a run."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mlpeft import JointLearner, SimpleClassifier, mse_loss, params
from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError
from mlpeft.evaluation.evaluate import evaluate
from mlpeft.meta import joint
from mlpeft.meta.engine import Engine
from mlpeft.meta.functional import get_params
from mlpeft.meta.inner import InnerLoop
from mlpeft.meta.state import without_head
from mlpeft.models.losses import cross_entropy_loss
from mlpeft.params import to_numpy
from mlpeft.runtime.compute import Prepared
from mlpeft.runtime.coordinator.executor import ClusterExecutor, Runtime
from mlpeft.tasks.episode import Episode
from mlpeft.training import checkpoint
from mlpeft.training.loop import train
from mlpeft.training.runner import ShardRunner
from mlpeft.training.trained import load_trained
from tests.runtime.coordinator.test_outliers import VERSIONS

pytest.importorskip("sklearn", reason="install it with: pip install scikit-learn")

STRATEGIES = ("loop", "compiled", "vmap")


def order(index):
    return np.random.default_rng(index)


def column(*values):
    return np.array(values, np.float32)[:, None]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_task_returns_the_gradient_of_all_its_examples_at_theta(strategy):
    """w = 1, y = w x: of (1, 3) it is 2 (1 - 3) = -4, of (1, 5) -8; their mean is -6.

    Whatever the number of inner steps, none is taken.
    """
    model = nn.Linear(1, 1, bias=False)
    model.weight = mx.array([[1.0]])
    inner = InnerLoop(lr=0.25, num_steps=3)
    engine = Engine(model, mse_loss, inner, strategy, "joint")
    task = joint.whole(Episode(column(1), column(3), column(1), column(5)))
    result = engine.train(to_numpy(get_params(model)), [task, task], order)
    np.testing.assert_allclose(result.total["weight"], [[-12.0]], rtol=1e-6)
    np.testing.assert_allclose(result.support_loss, [10.0, 10.0], rtol=1e-6)
    assert result.query_loss is None


def headed():
    """A network, with a training head of four classes on its three features."""
    model = SimpleClassifier(2, 3, 2, num_layers=1, activation="tanh")
    rng = np.random.default_rng(2)
    head = {
        joint.WEIGHT: rng.normal(size=(4, 3)).astype(np.float32),
        joint.BIAS: rng.normal(size=4).astype(np.float32),
    }
    return model, to_numpy(get_params(model) | head)


def test_the_training_head_classifies_the_models_embeddings():
    """Against differences of the loss written out in NumPy."""
    model, theta = headed()
    x = np.random.default_rng(1).normal(size=(5, 2)).astype(np.float32)
    y = np.array([3, 0, 2, 2, 1], np.int32)

    def loss(tree):
        hidden = np.tanh(x @ tree["layers.0.weight"].T + tree["layers.0.bias"])
        logits = hidden @ tree[joint.WEIGHT].T + tree[joint.BIAS]
        logits = logits - logits.max(axis=1, keepdims=True)
        chosen = logits[np.arange(5), y]
        return (np.log(np.exp(logits).sum(axis=1)) - chosen).mean()

    exact = {name: leaf.astype(np.float64) for name, leaf in theta.items()}
    task = Episode(x, y, x[:0], y[:0])
    totals = {}
    for strategy in STRATEGIES:
        engine = Engine(model, cross_entropy_loss, InnerLoop(), strategy, "joint")
        totals[strategy] = engine.train(theta, [task], order).total
        assert totals[strategy].keys() == theta.keys()
    for name, leaf in exact.items():
        for place in np.ndindex(leaf.shape):
            nudge = np.zeros_like(leaf)
            nudge[place] = 1e-6
            ahead, behind = exact | {name: leaf + nudge}, exact | {name: leaf - nudge}
            slope = (loss(ahead) - loss(behind)) / 2e-6
            for total in totals.values():
                assert total[name][place] == pytest.approx(slope, abs=1e-5)


def test_no_adaptation_sees_the_training_head():
    model, theta = headed()
    x = np.random.default_rng(1).normal(size=(4, 2)).astype(np.float32)
    y = np.array([0, 1, 0, 1], np.int32)
    task = Episode(x, y, x, y)
    engine = Engine(model, cross_entropy_loss, InnerLoop(), "loop", "joint")
    with_head = engine.evaluate(theta, [task], order, [0, 5])
    without = engine.evaluate(without_head(theta), [task], order, [0, 5])
    np.testing.assert_array_equal(with_head.loss, without.loss)


def test_the_learner_descends_the_loss_of_all_episodes():
    rng = np.random.default_rng(0)

    def episode():
        x = rng.normal(size=(8, 1)).astype(np.float32)
        return x, 3 * x + 1, x, 3 * x + 1

    learner = JointLearner(nn.Linear(1, 1), outer_lr=0.1)
    for _ in range(100):
        told = learner.meta_train_step([episode(), episode()], mse_loss)
    assert told["support_loss"] < 0.01
    assert np.isnan(told["query_loss"])
    assert learner.evaluate([episode()], mse_loss)["step_0_loss"] < 0.01


# --- runs -----------------------------------------------------------------------------

DIGITS = {
    "run": {"name": "joint", "seed": 1},
    "meta_learning": {
        "algorithm": "joint",
        "meta_batch_size": 3,
        "num_meta_iterations": 9,
        "eval_interval": 4,
        "save_interval": 2,
        "outer_optimizer": "adam",
        "outer_lr": 0.01,
        "inner_batch_size": 8,
    },
    "task_distribution": {
        "task_families": ["digits"],
        "num_classes": 3,
        "k_shot": 2,
        "query_size": 6,
        "num_train_tasks": None,
        "num_val_tasks": None,
        "num_test_tasks": None,
    },
    "model": {"hidden_dim": 16},
    "evaluation": {"num_val_episodes": 4, "num_test_episodes": 8},
    "compute": {"strategy": "loop"},
}


def settings(folder, *changes):
    return RunConfig.from_dict(DIGITS, [f"paths.checkpoint_dir={folder}", *changes])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return train(settings(tmp_path_factory.mktemp("joint")))


def test_classes_of_a_pool_get_a_head_that_is_thrown_away(undisturbed):
    """16 classes: 0 and 1 turned once, 3, 4 and 7 three times. It is learned."""
    assert undisturbed.meta[joint.WEIGHT].shape == (16, 16)
    assert np.abs(undisturbed.meta[joint.WEIGHT]).max() > 0.01
    assert not undisturbed.meta["layers.2.weight"].any()
    trained = load_trained(undisturbed.run_dir)
    assert evaluate(trained, 8).steps[-1] == 10
    five = load_trained(undisturbed.run_dir, overrides=["task_distribution.k_shot=5"])
    assert evaluate(five, 8).episodes == 8


def stop_after(iterations):
    calls = iter(range(iterations + 1))
    return lambda: next(calls) == iterations


def test_a_run_that_was_stopped_ends_in_the_same_bytes(tmp_path, undisturbed):
    """The moments of the outer step go on, too; the last save is lost in between."""
    first = train(settings(tmp_path), should_stop=stop_after(5))
    steps = checkpoint.step_folders(first.run_dir)
    for file in steps[-1].iterdir():  # as after a crash
        file.unlink()
    again = train(settings(tmp_path), resume=True)
    assert params.digest(again.meta) == params.digest(undisturbed.meta)
    assert again.best == undisturbed.best


def test_two_workers_give_the_bytes_of_one_process(tmp_path, undisturbed):
    runner = ShardRunner.from_config(settings(tmp_path))

    def prepare(_):
        return Prepared(ShardRunner.from_config(runner.config), "toy device", "view")

    runtime = Runtime(runner.config, "view", VERSIONS, prepare)
    runtime.start("127.0.0.1", 0, local_workers=2)
    try:
        found = train(runner.config, runner=runner, executor=ClusterExecutor(runtime))
    finally:
        runtime.close("done")
    assert params.digest(found.meta) == params.digest(undisturbed.meta)


def test_what_it_cannot_do_is_said(tmp_path):
    with pytest.raises(ConfigError, match="no inner loop whose moments"):
        RunConfig.from_dict({"meta_learning": {"algorithm": "joint"} | CARRY})
    config = settings(tmp_path, "model.backbone=logistic")
    with pytest.raises(ConfigError, match=r"all 16 training classes.*embed\(x\)"):
        ShardRunner.from_config(config)


CARRY = {"inner_state": "carry", "inner_optimizer": "adam"}

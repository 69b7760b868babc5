"""Running statistics of batch norms: what is collected, and what evaluations use."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mlpeft import MAMLLearner, ReptileLearner, params
from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError
from mlpeft.evaluation.evaluate import evaluate
from mlpeft.evaluation.protocol import ALONE, PER_STEP, RUNNING, protocol
from mlpeft.meta import state
from mlpeft.meta.engine import Engine
from mlpeft.meta.functional import get_params
from mlpeft.meta.inner import InnerLoop
from mlpeft.models.batch_norms import BatchNorms
from mlpeft.models.conv4 import Conv4
from mlpeft.models.losses import cross_entropy_loss, mse_loss
from mlpeft.runtime.compute import Prepared
from mlpeft.runtime.coordinator.executor import ClusterExecutor, Runtime
from mlpeft.tasks.episode import Episode
from mlpeft.training.loop import train
from mlpeft.training.runner import ShardRunner
from mlpeft.training.trained import load_trained
from tests.runtime.coordinator.test_outliers import VERSIONS

MEAN = "inner_state/statistics/norm/mean"
VAR = "inner_state/statistics/norm/var"
STRATEGIES = ("loop", "compiled", "vmap")
CASES = [
    *((name, "loop") for name in ("reptile", "reptile_serial", "fomaml", "maml")),
    ("fomaml", "compiled"),
    ("maml", "vmap"),
]


class NormedLine(nn.Module):
    """`y = w z`, z being the standardised x."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm(1, affine=False)
        self.layer = nn.Linear(1, 1, bias=False)
        self.layer.weight = mx.array([[1.0]])

    def __call__(self, x):
        return self.layer(self.norm(x))


def normed(shape, outputs):
    """An entry point: a small network with a batch norm of its hidden units."""
    return nn.Sequential(
        nn.Linear(shape[0], 6), nn.BatchNorm(6), nn.Tanh(), nn.Linear(6, outputs)
    )


def column(*values):
    return np.array(values, np.float32)[:, None]


def order(index):
    return np.random.default_rng(index)


TASKS = [
    # Support of mean 2 and variance 1, queries of mean 6 and variance 4.
    Episode(column(1, 3), column(0, 1), column(4, 8), column(0, 1)),
    # Of mean 4 and variance 9, of mean 0 and variance 16.
    Episode(column(1, 7), column(0, 1), column(-4, 4), column(0, 1)),
]


def engine_of(mode, algorithm="reptile", strategy="loop", **keys):
    model = NormedLine()
    keys = {"lr": 0.01, "num_steps": 1} | keys
    inner = InnerLoop(**keys, batch_norm=mode)
    meta = state.initial(get_params(model), inner, model)
    return Engine(model, mse_loss, inner, strategy, algorithm), meta


@pytest.mark.parametrize(("algorithm", "strategy"), CASES)
def test_each_stage_has_the_average_of_what_it_saw(algorithm, strategy):
    """0.9 m + 0.1 seen, from mean 0 and variance 1; of two tasks the sum.

    Stage 0 sees the support sets, stage 1 the queries. Means: 0.1 (2 + 4) = 0.6 and
    0.1 (6 + 0) = 0.6; variances: 2 * 0.9 + 0.1 (1 + 9) = 2.8 and 1.8 + 0.1 (4 + 16).
    Serially, the second task starts from the first's: 0.9 * 0.2 + 0.4 = 0.58, ...; what
    comes back is twice that.
    """
    engine, meta = engine_of("per-step", algorithm, strategy)
    total = engine.train(meta, TASKS, order).total
    mean, var = [[0.6], [0.6]], [[2.8], [3.8]]
    if algorithm == "reptile_serial":
        mean = [[2 * (0.9 * 0.2 + 0.4)], [2 * 0.9 * 0.6]]
        var = [[2 * (0.9 * 1.0 + 0.9)], [2 * (0.9 * 1.3 + 1.6)]]
    np.testing.assert_allclose(total[MEAN], mean, rtol=1e-5)
    np.testing.assert_allclose(total[VAR], var, rtol=1e-5)


def test_running_statistics_average_all_stages():
    engine, meta = engine_of("running", "fomaml")
    total = engine.train(meta, TASKS, order).total
    np.testing.assert_allclose(total[MEAN], [[0.6]], rtol=1e-5)
    np.testing.assert_allclose(total[VAR], [[3.3]], rtol=1e-5)


@pytest.mark.parametrize("strategy", ["loop", "vmap"])
def test_joint_training_keeps_those_of_its_batch(strategy):
    engine, meta = engine_of("running", "joint", strategy)
    total = engine.train(meta, TASKS, order).total
    np.testing.assert_allclose(total[MEAN], [[0.6]], rtol=1e-5)
    np.testing.assert_allclose(total[VAR], [[2.8]], rtol=1e-5)


def test_without_queries_the_last_stage_sees_the_support_set():
    engine, meta = engine_of("per-step")
    task = Episode(*TASKS[0][:2], column(), column())
    total = engine.train(meta, [task], order).total
    np.testing.assert_allclose(total[MEAN], [[0.2], [0.2]], rtol=1e-5)


@pytest.mark.parametrize("algorithm", ["reptile", "fomaml", "maml", "joint"])
def test_training_normalises_by_the_batch_in_every_mode(algorithm):
    plain, meta = engine_of("batch", algorithm, num_steps=3)
    keeping, kept = engine_of("running", algorithm, num_steps=3)
    expected, found = (
        e.train(m, TASKS, order) for e, m in [(plain, meta), (keeping, kept)]
    )
    np.testing.assert_array_equal(
        found.total["layer.weight"], expected.total["layer.weight"]
    )
    np.testing.assert_array_equal(found.support_loss, expected.support_loss)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_evaluation_normalises_by_the_stage_of_its_step(strategy):
    """w = 1 and a step size of almost 0, so y = (x - mean) / sd of the stage.

    The query x = 5 with target 0: stage 0 of mean 3 and variance 4 gives 1, stage 1 of
    mean 2 and variance 9 gives 1; later steps have the last stage's.
    """
    engine, meta = engine_of("per-step", strategy=strategy, lr=1e-9)
    meta |= {MEAN: np.float32([[3], [2]]), VAR: np.float32([[4], [9 / 4]])}
    task = Episode(column(1, 3), column(0, 0), column(5), column(0))
    scores = engine.evaluate(meta, [task, task], order, [0, 1, 4])
    np.testing.assert_allclose(scores.loss, [[1, 4, 4]] * 2, rtol=1e-4)


def test_inner_steps_of_an_evaluation_normalise_by_their_batch_as_in_training():
    """One step of 0.5 on z = -1, 1 with targets 0: w = 1 - 0.5 * 2 = 0."""
    engine, meta = engine_of("running", lr=0.5)
    meta |= {MEAN: np.float32([[3]]), VAR: np.float32([[4]])}
    task = Episode(column(1, 3), column(0, 0), column(7), column(0))
    scores = engine.evaluate(meta, [task], order, [0, 1])
    np.testing.assert_allclose(scores.loss, [[4, 0]], atol=1e-4)


def test_a_query_is_scored_whatever_the_others_are():
    """Also where it is not asked for: there is nothing to be transductive about."""
    model = Conv4(3, 8, filters=4)
    rng = np.random.default_rng(0)
    draw = lambda n: rng.normal(size=(n, 8, 8, 1)).astype(np.float32)  # noqa: E731
    labels = np.arange(3, dtype=np.int32)
    task = Episode(draw(3), labels, draw(6), np.tile(labels, 2))
    inner = InnerLoop(num_steps=1, batch_norm="per-step")
    meta = state.initial(get_params(model), inner, model)
    engine = Engine(model, cross_entropy_loss, inner, "loop", transductive=False)
    meta |= engine.train(meta, [task], order).total
    whole = engine.evaluate(meta, [task], order, [2]).loss
    halves = [
        engine.evaluate(meta, [Episode(*task[:2], x, y)], order, [2]).loss
        for x, y in zip(np.split(task[2], 2), np.split(task[3], 2), strict=True)
    ]
    np.testing.assert_allclose(whole, np.mean(halves, axis=0), rtol=1e-5)
    together = engine.predictions(meta, task, lambda: order(0), 2)
    one = Episode(*task[:2], task[2][4:5], task[3][4:5])
    assert engine.predictions(meta, one, lambda: order(0), 2) == together[4]


@pytest.mark.parametrize("model", [NormedLine, lambda: Conv4(3, 8, filters=4)])
def test_an_adapted_copy_normalises_by_what_was_kept(model):
    """Whatever else it is called with; the model that learned it still by its batch."""
    learner = ReptileLearner(model(), num_inner_steps=1, batch_norm="running")
    rng = np.random.default_rng(0)
    shape, loss_fn = ((6, 1), mse_loss)
    if isinstance(learner.model, Conv4):
        shape, loss_fn = ((6, 8, 8, 1), cross_entropy_loss)
    x = rng.normal(3, 2, shape).astype(np.float32)
    y = np.arange(6, dtype=np.int32) % 3 if len(shape) > 2 else x
    learner.meta_train_step([(x, y, x, y)], loss_fn)
    adapted = learner.adapt(x, y, loss_fn)
    together, alone = adapted(mx.array(x))[:1], adapted(mx.array(x[:1]))
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
    changed = np.concatenate([x[:1], 9 * x[1:]])
    ours = learner.model(mx.array(x))[:1], learner.model(mx.array(changed))[:1]
    assert not np.allclose(*map(np.array, ours))


def test_a_head_on_embeddings_sees_them_normalised_by_the_first_stage():
    """The query alone would be normalised to 0 by its own batch."""
    model = Conv4(2, 8, filters=2)
    draw = np.random.default_rng(0).normal
    task = Episode(
        draw(size=(4, 8, 8, 1)).astype(np.float32),
        np.array([0, 1, 0, 1], np.int32),
        draw(size=(6, 8, 8, 1)).astype(np.float32),
        np.array([0, 1] * 3, np.int32),
    )
    inner = InnerLoop(batch_norm="running")
    meta = state.initial(get_params(model), inner, model)
    engine = Engine(model, cross_entropy_loss, inner, "loop", head="ridge")
    whole = engine.evaluate(meta, [task], order, [0]).loss
    halves = [
        engine.evaluate(meta, [Episode(*task[:2], x, y)], order, [0]).loss
        for x, y in zip(np.split(task[2], 3), np.split(task[3], 3), strict=True)
    ]
    np.testing.assert_allclose(whole, np.mean(halves, axis=0), rtol=1e-4)


@pytest.mark.parametrize("make", [NormedLine, lambda: Conv4(2, 8, filters=2)])
def test_a_model_is_afterwards_what_it_was(make):
    model = make()
    norms = BatchNorms(model)
    kinds = [type(module) for module in model.modules()]
    names = [name for name, _ in model.named_modules()]
    x = mx.ones((3, 1)) if isinstance(model, NormedLine) else mx.ones((3, 8, 8, 1))
    with norms.recording() as seen:
        before = model(x)
    with norms.normalising(seen):
        after = model(x)
    np.testing.assert_allclose(before, after, atol=1e-5)
    assert [type(module) for module in model.modules()] == kinds
    assert [name for name, _ in model.named_modules()] == names
    assert not any("moments" in vars(module) for module in model.modules())


def test_a_norm_that_was_set_to_evaluation_keeps_its_own_statistics():
    """As of a pretrained network: it does not look at the batch."""
    model = NormedLine()
    model.norm.eval()
    assert not BatchNorms(model)
    engine = Engine(model, mse_loss, InnerLoop())
    assert not engine.uses_batch_statistics


def test_learners_learn_save_and_load_them(tmp_path):
    learner = MAMLLearner(NormedLine(), num_inner_steps=1, batch_norm="per-step")
    learner.meta_train_step(TASKS, mse_loss)
    np.testing.assert_allclose(learner.meta[MEAN], [[0.3], [0.3]], rtol=1e-5)
    learner.save(tmp_path / "start.npz")
    other = MAMLLearner(NormedLine(), num_inner_steps=1, batch_norm="per-step")
    other.load(tmp_path / "start.npz")
    assert other.evaluate(TASKS, mse_loss) == learner.evaluate(TASKS, mse_loss)
    longer = MAMLLearner(NormedLine(), num_inner_steps=2, batch_norm="per-step")
    with pytest.raises(ConfigError.__mro__[1], match="statistics/norm"):
        longer.load(tmp_path / "start.npz")


def test_what_does_not_go_together_is_refused():
    with pytest.raises(
        ConfigError, match=r"batch_norm: running keeps.*Linear has none"
    ):
        ReptileLearner(nn.Linear(1, 1), batch_norm="running")
    with pytest.raises(ConfigError, match=r"joint takes no inner steps.*set running"):
        RunConfig.from_dict(
            {"meta_learning": {"algorithm": "joint", "batch_norm": "per-step"}}
        )


def settings(folder, **meta_learning):
    usual = {
        "algorithm": "maml++",
        "batch_norm": "per-step",
        "num_meta_iterations": 6,
        "num_inner_steps": 2,
        "save_interval": 2,
        "eval_interval": 3,
        "outer_optimizer": "adam",
    }
    return RunConfig.from_dict(
        {
            "meta_learning": usual | meta_learning,
            "task_distribution": {"k_shot": 6, "query_size": 10},
            "model": {"backbone": f"{__name__}:normed"},
            "evaluation": {"num_val_episodes": 4, "num_inner_steps": 3},
            "compute": {"threads": 1, "strategy": "loop"},
            "paths": {"checkpoint_dir": str(folder)},
        }
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return train(settings(tmp_path_factory.mktemp("undisturbed")))


def test_a_run_that_was_stopped_ends_in_the_same_bytes(tmp_path, undisturbed):
    calls = iter(range(6))
    train(settings(tmp_path), should_stop=lambda: next(calls) == 3)
    again = train(settings(tmp_path), resume=True)
    assert params.digest(again.meta) == params.digest(undisturbed.meta)


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


def loaded(run, *overrides):
    step = run.run_dir / "steps" / "00000006"
    return load_trained(step, overrides=overrides, allow_modules=[__name__])


def test_one_training_can_be_scored_in_every_mode(undisturbed):
    """What each result says it was; statistics of all steps are their mean."""
    batch, running = (f"meta_learning.batch_norm={it}" for it in ("batch", "running"))
    modes = {
        PER_STEP: (),
        RUNNING: (running,),
        ALONE: (batch, "model.transductive=false"),
    }
    losses = {}
    for name, overrides in modes.items():
        trained = loaded(undisturbed, *overrides)
        assert protocol(ShardRunner.from_config(trained.config))["batch_norm"] == name
        losses[name] = evaluate(trained, 8).loss[-1]
    assert len(set(losses.values())) == 3


def test_statistics_that_were_not_kept_cannot_be_used(tmp_path):
    plain = train(settings(tmp_path, batch_norm="batch"))
    trained = loaded(plain, "meta_learning.batch_norm=running")
    with pytest.raises(
        ConfigError, match=r"no running statistics; set batch, or train"
    ):
        evaluate(trained, 4)

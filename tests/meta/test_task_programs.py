"""The strategy fused: the same results as the loop, and what happens without it."""

import logging
import shutil
from dataclasses import replace

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mlpeft import params
from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError, MlpeftError
from mlpeft.fused import compiler
from mlpeft.meta.algorithms import ALGORITHMS
from mlpeft.meta.engine import Engine
from mlpeft.meta.learner import ReptileLearner
from mlpeft.meta.learners import MAMLLearner
from mlpeft.meta.strategies import choose_strategy
from mlpeft.models.build import seeded
from mlpeft.models.conv4 import Conv4
from mlpeft.models.losses import cross_entropy_loss
from mlpeft.models.mlp import LinearClassifier, SimpleClassifier
from mlpeft.tasks.build import build_tasks
from mlpeft.tasks.episode import Episode
from mlpeft.training.loop import train
from mlpeft.training.plan import train_shards, validation_shards
from mlpeft.training.run_folder import as_begun
from mlpeft.training.runner import ShardRunner, resolved


def episodes(number=3, shape=(3,), classes=2, seed=0):
    rng = np.random.default_rng(seed)

    def examples(many):
        x = rng.normal(size=(many, *shape)).astype(np.float32)
        return x, (np.arange(many) % classes).astype(np.int32)

    return [(*examples(6), *examples(4)) for _ in range(number)]


def mlp(activation="tanh"):
    with seeded(1):
        return SimpleClassifier(3, 6, 2, num_layers=1, activation=activation)


def conv(**keys):
    with seeded(1):
        return Conv4(num_classes=2, image_size=8, filters=4, **keys)


def learner(model, strategy, algorithm="reptile", **settings):
    made = type("Learner", (ReptileLearner,), {"algorithm": algorithm})
    defaults = {"inner_lr": 0.05, "outer_lr": 0.5, "num_inner_steps": 2}
    return made(model, strategy=strategy, **(defaults | settings))


def trained(model, strategy, given, algorithm="reptile", steps=2, **settings):
    """Theta and metrics after some meta-iterations; a strategy of None: fused."""
    one = learner(model, strategy, algorithm, **settings)
    metrics = [one.meta_train_step(given, cross_entropy_loss) for _ in range(steps)]
    (engine,) = (engine for _, engine in one._engines.values())
    assert engine.strategy == (strategy or "fused")
    return one.meta, metrics[-1]


def assert_close(mine, loops, atol=1e-6, rtol=0):
    theta, metrics = mine
    assert theta.keys() == loops[0].keys()
    for name, leaf in theta.items():
        np.testing.assert_allclose(leaf, loops[0][name], rtol=rtol, atol=atol)
    assert metrics == pytest.approx(loops[1], rel=1e-4, abs=atol)


SHIPPED = {
    "linear": (mlp, (3,)),
    "tanh": (lambda: mlp("tanh"), (3,)),
    "logistic": (lambda: LinearClassifier(3, 2), (3,)),
    "conv4": (conv, (8, 8, 1)),
    "conv4_pool": (lambda: conv(pooled=True), (8, 8, 1)),
}
"""The small backbones, and the shape of what they are given."""


@pytest.fixture
def quickly_compiled(monkeypatch):
    """Without optimisation, which decides no bits (tests/fused/test_compiler.py)."""
    flags = tuple("-O0" if flag == "-O3" else flag for flag in compiler.FLAGS)
    monkeypatch.setattr(compiler, "FLAGS", flags)


def refused_or(compute):
    """What it gives, or the sentence of its refusal."""
    try:
        return compute()
    except ConfigError as error:
        return str(error)


@pytest.mark.usefixtures("quickly_compiled")
@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
@pytest.mark.parametrize("backbone", SHIPPED)
def test_auto_comes_to_what_the_loop_comes_to(backbone, algorithm):
    """Every shipped small model by every algorithm: fused, or refused by both."""
    make, shape = SHIPPED[backbone]

    def run(strategy):
        return trained(make(), strategy, episodes(2, shape), algorithm, steps=1)

    with seeded(2):
        fused = refused_or(lambda: run(None))
    with seeded(2):
        loop = refused_or(lambda: run("loop"))
    if isinstance(loop, str):
        assert fused == loop
    else:
        assert_close(fused, loop, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"inner_optimizer": "adam", "inner_state": "carry", "inner_batch_size": 4},
        {"inner_grad_clip": 0.1, "inner_micro_batch": 4, "outer_optimizer": "adam"},
        {"algorithm": "maml", "first_order": True, "inner_batch_size": 4},
    ],
    ids=["carried Adam in batches", "clipped in micro-batches", "first order"],
)
def test_every_kind_of_inner_loop_comes_to_what_the_loop_comes_to(settings):
    given = episodes()
    loop = trained(mlp("relu"), "loop", given, **settings)
    assert_close(trained(mlp("relu"), "fused", given, **settings), loop)


def test_running_statistics_of_batch_norms_come_to_what_the_loop_comes_to():
    run = {"given": episodes(2, (8, 8, 1)), "batch_norm": "running", "steps": 1}
    fused = trained(conv(), "fused", **run)
    assert_close(fused, trained(conv(), "loop", **run), atol=3e-6)


@pytest.mark.parametrize("backbone", ["linear", "conv4"])
def test_evaluation_comes_to_what_the_loop_comes_to(backbone):
    make, shape = SHIPPED[backbone]
    given = episodes(2, shape)
    scores = [
        learner(make(), strategy).evaluate(given, cross_entropy_loss)
        for strategy in ("fused", "loop")
    ]
    assert scores[0] == pytest.approx(scores[1], rel=2e-4, abs=1e-5)


def test_the_bits_do_not_depend_on_which_tasks_are_computed_together(monkeypatch):
    """In one call, or one by one because they take long."""
    given = episodes()
    theta, _ = trained(mlp(), "fused", given)
    monkeypatch.setattr("mlpeft.meta.task_programs.LONG_CALL_S", 0.0)
    again, _ = trained(mlp(), "fused", given, update_clip=1e9)
    assert params.digest(theta) == params.digest(again)


@pytest.mark.parametrize("settings", [{}, {"update_clip": 1e9}], ids=["C", "NumPy"])
def test_the_bits_do_not_depend_on_the_number_of_threads(monkeypatch, settings):
    """The outer step in C or by NumPy; eight tasks in one thread, or in three."""
    monkeypatch.setattr("mlpeft.meta.task_programs.THREADS_FROM_S", 0.0)
    given = episodes(8)
    results = {}
    for threads in (1, 3):
        monkeypatch.setattr(
            "mlpeft.meta.task_programs.compute_threads", lambda many=threads: many
        )
        one = learner(mlp(), "fused", "fomaml", **settings)
        for _ in range(4):
            metrics = one.meta_train_step(given, cross_entropy_loss)
        scores = one.evaluate(given, cross_entropy_loss)
        (engine,) = (engine for _, engine in one._engines.values())
        (compiled,) = engine._loops._fused._compiled.values()
        assert compiled.program._room.threads == threads
        results[threads] = params.digest(one.meta), metrics, scores
    assert results[1] == results[3]


def test_progress_is_told_of_every_call_of_a_long_shard(monkeypatch):
    monkeypatch.setattr("mlpeft.meta.task_programs.LONG_CALL_S", 0.0)
    engine = Engine(mlp(), cross_entropy_loss, learner(mlp(), "loop").inner, "fused")
    seen = []
    given = [Episode(*one) for one in episodes(3)]
    meta = learner(mlp(), "loop").meta
    engine.train(meta, given, np.random.default_rng, seen.append)
    assert seen == [1, 2, 3]


def test_tasks_of_several_sizes_come_to_what_the_loop_comes_to():
    first, second = episodes(2)
    given = [first, (second[0][:4], second[1][:4], *second[2:])]
    loop = trained(mlp(), "loop", given)
    assert_close(trained(mlp(), "fused", given), loop)


def test_a_learner_that_meets_many_sizes_goes_on_without_compiling(monkeypatch, caplog):
    monkeypatch.setattr("mlpeft.meta.learner.MOST_SIZES", 2)
    (one,) = episodes(1)
    given = [[(one[0][:n], one[1][:n], *one[2:])] for n in (2, 3, 4, 2)]
    ours, loop = learner(mlp(), "fused"), learner(mlp(), "loop")
    for part in given:
        ours.meta_train_step(part, cross_entropy_loss)
        loop.meta_train_step(part, cross_entropy_loss)
    (engine,) = (engine for _, engine in ours._engines.values())
    assert engine.strategy == "vmap"
    assert "episodes had more than 2 sizes" in caplog.text
    assert_close((ours.meta, {}), (loop.meta, {}))


@pytest.mark.usefixtures("quickly_compiled")
def test_a_run_of_many_sizes_says_once_what_to_do_and_keeps_its_strategy(
    tmp_path, monkeypatch, caplog
):
    """Training and validation both; the programs used longest ago go."""
    monkeypatch.setattr("mlpeft.meta.task_programs.MANY_SIZES", 2)
    monkeypatch.setattr("mlpeft.meta.task_programs.MOST_SHAPES", 3)
    config = tiny(tmp_path, strategy="fused", shard_size=1)
    tasks = build_tasks(config)
    odd = replace(tasks, train=Odd(tasks.train), val=Odd(tasks.val))
    runner = ShardRunner(config, odd, SimpleClassifier(2, 6))
    meta = runner.initial_meta()
    for iteration in range(3):
        for shard in train_shards(config, odd, iteration):
            assert runner.run(meta, shard).otherwise == ""
    for shard in validation_shards(config, odd, 0):
        runner.run(meta, shard)
    assert caplog.text.count("set compute.strategy: compiled") == 1
    assert "compiled for 3 sizes of episodes" in caplog.text
    programs = runner._engines.engine._loops._fused
    assert programs._times_compiled > 3 == len(programs._compiled)


@pytest.mark.parametrize("kind", [ReptileLearner, MAMLLearner])
def test_meta_iterations_in_one_call_are_those_that_are_called_for_singly(kind):
    given = episodes(9)
    settings = {"inner_lr": 0.05, "outer_lr": 0.5, "num_inner_steps": 2}
    settings |= {"inner_batch_size": 4, "outer_schedule": "linear", "strategy": "fused"}
    at_once, singly, by_numpy = (kind(mlp(), **settings) for _ in range(3))
    metrics = at_once.meta_train_steps(given, cross_entropy_loss, 3)
    each = []
    for start in (0, 3, 6):
        part = given[start : start + 3]
        each.append(singly.meta_train_step(part, cross_entropy_loss))
        by_numpy._stepped(part, cross_entropy_loss)
    assert params.digest(at_once.meta) == params.digest(singly.meta)
    assert params.digest(at_once.meta) == params.digest(by_numpy.meta)
    assert at_once.iteration == singly.iteration == 3
    for name, value in metrics.items():
        assert value == pytest.approx(np.mean([one[name] for one in each]), rel=1e-6)


@pytest.mark.parametrize("settings", [{}, {"outer_optimizer": "adam"}])
def test_meta_iterations_in_one_call_are_the_same_with_other_strategies(settings):
    given = episodes(4)
    at_once, singly = (learner(mlp(), "loop", **settings) for _ in range(2))
    at_once.meta_train_steps(given, cross_entropy_loss, 2)
    for part in (given[:2], given[2:]):
        singly.meta_train_step(part, cross_entropy_loss)
    assert params.digest(at_once.meta) == params.digest(singly.meta)


@pytest.mark.parametrize(("many", "n"), [(5, 2), (4, 0), (0, 1)])
def test_episodes_that_are_not_n_meta_batches_are_refused(many, n):
    with pytest.raises(ValueError, match=f"got {many} episodes for {n}"):
        learner(mlp(), "loop").meta_train_steps(episodes(many), cross_entropy_loss, n)


def test_what_a_user_puts_into_the_model_between_steps_counts():
    given = episodes(2)
    one = learner(mlp(), "fused")
    one.meta_train_step(given, cross_entropy_loss)
    zeros = mx.zeros_like(one.model.layers[0].weight)
    one.model.layers[0].weight = zeros
    assert not one.meta["layers.0.weight"].any()
    one.meta_train_step(given, cross_entropy_loss)
    assert one.meta["layers.0.weight"].any()


class Sorting(nn.Module):
    """Has a primitive that is not known."""

    def __init__(self, inputs=3):
        super().__init__()
        self.layer = nn.Linear(inputs, 2)

    def __call__(self, x):
        return self.layer(mx.sort(x, axis=-1))


def test_what_cannot_be_fused_is_computed_otherwise_and_the_reason_logged(caplog):
    one = learner(Sorting(), "fused")
    one.meta_train_step(episodes(2), cross_entropy_loss)
    (engine,) = (engine for _, engine in one._engines.values())
    assert engine.strategy == "vmap"
    assert "the primitive Sort is not in its table; vmap instead" in caplog.text


def test_a_run_records_what_it_computed_where_it_cannot_be_fused(tmp_path, caplog):
    """Both in its folder and for workers; asked for again, it goes on likewise."""

    def computed(compute, iterations, **keys):
        config = tiny(tmp_path, **compute)
        section = config.meta_learning.model_copy(
            update={"num_meta_iterations": iterations}
        )
        config = as_begun(config.model_copy(update={"meta_learning": section}))
        runner = ShardRunner(config, build_tasks(config), Sorting(2))
        return train(config, runner=runner, **keys), runner

    for compute in ({}, {"strategy": "fused", "shard_size": 2}):
        with seeded(3):
            first, runner = computed(compute, 2)
        recorded = RunConfig.load(first.run_dir / "config.yaml").compute
        assert recorded.strategy == runner.config.compute.strategy == "vmap"
        assert caplog.text.count("the primitive Sort is not in its table") == 1
        with seeded(3):
            second, _ = computed(compute, 4, resume=True)
        assert second.iteration == 4
        shutil.rmtree(first.run_dir)
        caplog.clear()


class Odd:
    """Tasks whose episodes have many sizes."""

    def __init__(self, tasks):
        self.sample_task = tasks.sample_task

    def episode(self, task_id, seed):
        many = 4 + seed % 50
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(many, 2)).astype(np.float32)
        y = (np.arange(many) % 2).astype(np.int32)
        return Episode(x, y, x, y)


@pytest.mark.parametrize(("strategy", "chosen"), [("auto", "vmap"), ("fused", "fused")])
def test_episodes_of_many_sizes_are_not_fused_unless_asked_for(
    tmp_path, strategy, chosen
):
    """Each size takes a second to compile."""
    config = tiny(tmp_path, strategy=strategy)
    tasks = build_tasks(config)
    runner = ShardRunner(
        config, replace(tasks, train=Odd(tasks.train)), SimpleClassifier(2, 6)
    )
    runner.settle_strategy()
    assert runner.config.compute.strategy == chosen


def test_without_a_compiler_it_is_computed_otherwise_and_the_reason_logged(
    caplog, monkeypatch
):
    assert choose_strategy(mlp()) == "fused"
    monkeypatch.setenv("MLPEFT_CC", "none")
    assert choose_strategy(mlp()) == "vmap"
    with caplog.at_level(logging.WARNING):
        trained_by = Engine(
            mlp(), cross_entropy_loss, learner(mlp(), "loop").inner, "fused"
        )
    assert trained_by.strategy == "vmap"
    assert "MLPEFT_CC=none says so; unset it; vmap instead" in caplog.text


def test_a_compiler_that_fails_in_mid_run_is_an_error_and_no_other_strategy(
    monkeypatch,
):
    def fails(*_):
        raise compiler.CompilerFailed("cc fails (its disk is full)")

    one = learner(mlp(), "fused", num_inner_steps=7)
    monkeypatch.setattr("mlpeft.fused.program.load", fails)
    with pytest.raises(MlpeftError, match="its disk is full"):
        one.meta_train_step(episodes(2), cross_entropy_loss)


def tiny(tmp_path, **compute):
    return RunConfig.from_dict(
        {
            "run": {"name": "tiny"},
            "meta_learning": {"meta_batch_size": 2, "num_meta_iterations": 2},
            "task_distribution": {"num_train_tasks": 4, "num_val_tasks": 4},
            "model": {"backbone": "linear", "hidden_dim": 6, "num_layers": 1},
            "evaluation": {"num_val_episodes": 2, "num_inner_steps": 2},
            "paths": {"checkpoint_dir": str(tmp_path)},
            "logging": {"log_dir": str(tmp_path / "logs")},
            "compute": compute,
        }
    )


def test_a_run_records_the_strategy_and_follows_it_when_it_is_resumed(
    tmp_path, monkeypatch
):
    """Begun by a version, or on a machine, that chose vmap; theta keeps its bytes."""
    monkeypatch.setenv("MLPEFT_CC", "none")
    begun = train(tiny(tmp_path / "a"))
    assert RunConfig.load(begun.run_dir / "config.yaml").compute.strategy == "vmap"
    longer = {"num_meta_iterations": 4}
    config = tiny(tmp_path / "a")
    section = config.meta_learning.model_copy(update=longer)
    config = config.model_copy(update={"meta_learning": section})
    monkeypatch.delenv("MLPEFT_CC")
    assert as_begun(config).compute.strategy == "vmap"
    resumed = train(config, resume=True)
    whole = tiny(tmp_path / "b", strategy="vmap")
    section = whole.meta_learning.model_copy(update=longer)
    straight = train(whole.model_copy(update={"meta_learning": section}))
    assert params.digest(resumed.meta) == params.digest(straight.meta)


def test_a_new_run_is_fused_and_says_otherwise_where_there_is_no_compiler(
    tmp_path, monkeypatch, caplog
):
    made = ShardRunner.from_config(tiny(tmp_path))
    assert made.config.compute.strategy == "fused"
    assert made.config.compute.shard_size == 2
    settled = resolved(tiny(tmp_path), conv()).compute
    assert (settled.strategy, settled.shard_size) == ("fused", 1)
    monkeypatch.setenv("MLPEFT_CC", "none")
    other = ShardRunner.from_config(tiny(tmp_path, strategy="fused"))
    assert other.config.compute.strategy == "vmap"
    assert "compute.strategy fused cannot be had here" in caplog.text

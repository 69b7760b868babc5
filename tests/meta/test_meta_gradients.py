"""Every algorithm's meta-gradient, against central differences in NumPy (float64)."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mlpeft.config import MetaLearningSection
from mlpeft.errors import ConfigError, ShapeError
from mlpeft.meta import state
from mlpeft.meta.engine import Engine
from mlpeft.meta.inner import InnerLoop
from mlpeft.meta.optimizers import SGD
from mlpeft.meta.strategies import Course
from mlpeft.models.losses import cross_entropy_loss, mse_loss
from mlpeft.models.mlp import SimpleClassifier
from mlpeft.tasks.episode import Episode
from tests.meta import numpy_reference as reference

EARLY = 250
"""A meta-iteration at which MAML++ is a quarter of the way to the last step's loss."""
WEIGHTS = [0.25, 0.25, 0.5]  # 3/4 of (1, 1, 1) / 3 and 1/4 of (0, 0, 1)

OBJECTIVES = {
    "maml": reference.maml,
    "anil": reference.some("layers.1"),
    "boil": reference.some("layers.0"),
    "meta_sgd": reference.meta_sgd,
    "maml++": reference.multi_step(WEIGHTS),
    "meta_curvature": reference.meta_curvature,
    "cavia": reference.cavia,
    "imaml": reference.imaml,
    "protonet": reference.protonet,
    "matching": reference.matching,
    "relation": reference.relation,
}
KEYS = {
    "maml++": {"multi_step_iterations": 4 * EARLY},
    "imaml": {"num_inner_steps": 30, "cg_steps": 20, "proximal": reference.LAMBDA},
    "cavia": {"context_size": 2},
    "relation": {"relation_dim": 6},
}


def settings(algorithm, **keys):
    usual = {"inner_lr": reference.LR, "num_inner_steps": reference.STEPS}
    return MetaLearningSection(
        algorithm=algorithm, **usual | KEYS.get(algorithm, {}) | keys
    )


def network(seed=0):
    rng = np.random.default_rng(seed)
    model = SimpleClassifier(2, 3, 2, 1, "tanh")
    for layer in model.layers:
        for name in ("weight", "bias"):
            shape = layer[name].shape
            layer[name] = mx.array(rng.normal(size=shape).astype(np.float32))
    return model


def a_task(seed=0):
    rng = np.random.default_rng(100 + seed)
    x, qx = (rng.normal(size=(n, 2)).astype(np.float32) for n in (6, 8))
    y, qy = (np.arange(n, dtype=np.int32) % 2 for n in (6, 8))
    return Episode(x, y, qx, qy)


def start(model, section, seed=3):
    """A meta-state whose learned leaves are not where they start."""
    meta = state.new(model, InnerLoop.from_config(section), seed)
    rng = np.random.default_rng(seed)
    return {
        name: leaf
        if not name.startswith("learned/")
        else leaf + rng.normal(size=leaf.shape).astype(np.float32) * np.float32(0.1)
        for name, leaf in meta.items()
    }


@pytest.fixture
def uncompiled(monkeypatch):
    """Vectorised over tasks, and not compiled: that takes seconds."""
    monkeypatch.setattr(mx, "compile", lambda function: function)


def trained(model, section, strategy, tasks, meta, iteration=EARLY, loss=None):
    inner = InnerLoop.from_config(section)
    engine = Engine(
        model, loss or cross_entropy_loss, inner, strategy, section.algorithm
    )
    weights = inner.adaptation.loss_weights(inner.num_steps, iteration)
    rng = np.random.default_rng
    return engine.train(meta, tasks, rng, course=Course(loss_weights=weights))


@pytest.mark.parametrize("algorithm", OBJECTIVES)
def test_the_meta_gradient_is_that_of_central_differences(algorithm):
    model, section, tasks = network(), settings(algorithm), [a_task(0), a_task(1)]
    meta = start(model, section)
    total = trained(model, section, "loop", tasks, meta).total
    assert total.keys() == meta.keys()
    slopes = [
        reference.differences(OBJECTIVES[algorithm], meta, task) for task in tasks
    ]
    for name, leaf in total.items():
        expected = slopes[0][name] + slopes[1][name]
        np.testing.assert_allclose(leaf, expected, atol=2e-5, rtol=2e-4, err_msg=name)


@pytest.mark.parametrize("algorithm", ["maml++", "cavia", "meta_curvature", "imaml"])
@pytest.mark.usefixtures("uncompiled")
def test_tasks_side_by_side_have_the_gradient_of_one_after_another(algorithm):
    model, section, tasks = network(), settings(algorithm), [a_task(0), a_task(1)]
    if algorithm == "imaml":
        section = settings(algorithm, num_inner_steps=2, cg_steps=2)
    meta = start(model, section)
    one, all_ = (
        trained(model, section, strategy, tasks, meta) for strategy in ("loop", "vmap")
    )
    for name, leaf in one.total.items():
        np.testing.assert_allclose(all_.total[name], leaf, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(all_.query_loss, one.query_loss, atol=1e-6)
    np.testing.assert_allclose(all_.support_loss, one.support_loss, atol=1e-6)


@pytest.mark.parametrize("algorithm", OBJECTIVES)
def test_queries_are_scored_by_what_a_task_has_adapted_to(algorithm):
    """The objective in NumPy is the loss that evaluation gives."""
    model, section, task = network(), settings(algorithm), a_task(0)
    meta = start(model, section)
    inner = InnerLoop.from_config(section)
    engine = Engine(model, cross_entropy_loss, inner, "loop", algorithm)
    rng = np.random.default_rng
    loss = engine.evaluate(meta, [task, task], rng, [inner.num_steps]).loss
    objective = OBJECTIVES[algorithm]
    if algorithm == "maml++":
        objective = reference.multi_step([0.0, 0.0, 1.0])
    expected = objective({k: v.astype(np.float64) for k, v in meta.items()}, task)
    # A linear head leaves out of the distances what all classes share.
    np.testing.assert_allclose(loss[:, 0], [expected] * 2, rtol=1e-5)


# --- first and second order -----------------------------------------------------------


def test_the_first_order_gradient_is_another_and_that_of_fomaml():
    model, tasks = network(), [a_task()]
    meta = start(model, settings("maml"))
    second = trained(model, settings("maml"), "loop", tasks, meta).total
    first = trained(model, settings("maml", first_order=True), "loop", tasks, meta)
    fomaml = trained(model, settings("fomaml"), "loop", tasks, meta).total
    for name, leaf in first.total.items():
        np.testing.assert_allclose(leaf, fomaml[name], atol=1e-7)
        assert np.abs(leaf - second[name]).max() > 1e-3


def test_without_inner_steps_both_orders_are_the_gradient_of_the_queries():
    model, tasks = network(), [a_task()]
    section = settings("maml", num_inner_steps=0)
    meta = start(model, section)
    second = trained(model, section, "loop", tasks, meta).total
    first = trained(model, settings("fomaml", num_inner_steps=0), "loop", tasks, meta)
    expected = reference.gradient(meta, tasks[0].query_x, tasks[0].query_y)
    for name, leaf in second.items():
        np.testing.assert_allclose(leaf, first.total[name], atol=1e-7)
        np.testing.assert_allclose(leaf, expected[name], atol=1e-6)


def test_where_the_loss_has_no_curvature_both_orders_agree():
    """A loss that is linear in the parameters, so no step depends on them."""

    def product(outputs, targets):
        return mx.mean(outputs * targets)

    model = nn.Linear(2, 1)
    rng = np.random.default_rng(0)
    x, y, qx, qy = (rng.normal(size=(4, n)).astype(np.float32) for n in (2, 1, 2, 1))
    tasks = [Episode(x, y, qx, qy)]
    meta = start(model, settings("maml"))
    second, first = (
        trained(model, section, "loop", tasks, meta, loss=product).total
        for section in (settings("maml"), settings("maml", first_order=True))
    )
    for name, leaf in second.items():
        np.testing.assert_allclose(leaf, first[name], atol=1e-7)
        assert np.abs(leaf).max() > 1e-3


@pytest.mark.usefixtures("uncompiled")
def test_a_quadratic_gives_the_factor_of_its_curvature():
    """L = (w - s)^2 / 1 from w: w' = w - a 2 (w - s), so dL_q/dw = 2 (w' - q) (1 - 2a).

    w = 1, s = 3, a = 1/4: w' = 2; q = 5: 2 (2 - 5) (1 - 1/2) = -3.
    """
    model = nn.Linear(1, 1, bias=False)
    model.weight = mx.array([[1.0]])
    one = np.ones((1, 1), np.float32)
    task = Episode(one, 3 * one, one, 5 * one)
    section = settings("maml", inner_lr=0.25, num_inner_steps=1)
    meta = start(model, section)
    result = trained(model, section, "vmap", [task, task], meta, loss=mse_loss)
    np.testing.assert_allclose(result.total["weight"], [[-6.0]], rtol=1e-6)
    np.testing.assert_allclose(result.query_loss, [9.0, 9.0], rtol=1e-6)


# --- the classic mistake --------------------------------------------------------------


def flows(algorithm, meta, total):
    """Whether every leaf of theta has a gradient."""
    del algorithm
    return all(np.abs(total[name]).max() > 1e-6 for name in meta)


@pytest.mark.parametrize("algorithm", OBJECTIVES)
def test_no_leaf_is_cut_off_from_the_meta_gradient(algorithm):
    model, section, tasks = network(), settings(algorithm), [a_task(0), a_task(1)]
    meta = start(model, section)
    assert flows(algorithm, meta, trained(model, section, "loop", tasks, meta).total)


def test_a_detached_update_would_be_caught(monkeypatch):
    """The mistake of many a MAML: adapted parameters that are copies, not functions."""
    model, section, tasks = network(), settings("maml"), [a_task()]
    meta = start(model, section)
    step = SGD.step

    def detached(self, params, grads, state):
        params, state = step(self, params, grads, state)
        return {k: mx.stop_gradient(v) for k, v in params.items()}, state

    monkeypatch.setattr(SGD, "step", detached)
    total = trained(model, section, "loop", tasks, meta).total
    assert not flows("maml", meta, total)


# --- MAML++ ---------------------------------------------------------------------------


def test_the_losses_of_all_steps_count_alike_at_first_and_the_last_alone_later():
    adaptation = InnerLoop.from_config(settings("maml++")).adaptation
    np.testing.assert_allclose(adaptation.loss_weights(3, 0), [1 / 3] * 3, rtol=1e-6)
    np.testing.assert_allclose(adaptation.loss_weights(3, EARLY), WEIGHTS, rtol=1e-6)
    assert adaptation.loss_weights(3, 4 * EARLY) is None


def test_each_inner_step_has_a_scale_and_a_shift_of_its_own():
    """In `Conv4`: two step sizes for each other leaf, two steps for each norm."""
    from mlpeft.models.conv4 import Conv4

    model = Conv4(2, 8, 1, 2)
    section = settings("maml++", num_inner_steps=2)
    meta = state.new(model, InnerLoop.from_config(section), 0)
    norms = {n for n in meta if n.startswith("learned/norm_step/")}
    assert len(norms) == 2 * 2 * 4
    assert meta["learned/norm_step/1/blocks.3.gamma"].shape == (2,)
    assert "learned/rate/1/blocks.3.weight" in meta
    assert "learned/rate/1/blocks.3.gamma" not in meta
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 4, 8, 8, 1)).astype(np.float32)
    y = np.array([0, 1, 0, 1], np.int32)
    task = Episode(x[0], y, x[1], y)
    total = trained(model, section, "loop", [task], meta).total
    assert all(np.abs(total[name]).max() > 0 for name in norms)


# --- serial Reptile -------------------------------------------------------------------


def test_a_serial_shard_is_a_row_of_batches_of_one():
    model, tasks = network(), [a_task(0), a_task(1)]
    section = settings("reptile_serial")
    meta = start(model, section)
    inner = InnerLoop.from_config(section)
    rng = np.random.default_rng

    def batched(meta, task):
        engine = Engine(model, cross_entropy_loss, inner, "loop", "reptile")
        adapted = engine.train(meta, [task], rng).total
        return {k: meta[k] + np.float32(0.5) * (adapted[k] - meta[k]) for k in meta}

    engine = Engine(model, cross_entropy_loss, inner, "loop", "reptile_serial")
    total = engine.train(meta, tasks, rng, course=Course(outer_lr=0.5)).total
    expected = batched(batched(meta, tasks[0]), tasks[1])
    for name, leaf in total.items():
        np.testing.assert_allclose(leaf / 2, expected[name], atol=1e-6)


# --- refusals -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "match"),
    [
        ("anil", "head_leaves: anil tells the head from the body"),
        ("boil", "head_leaves: boil tells the head from the body"),
        ("cavia", "cavia shifts trained vectors"),
        ("protonet", "no method embed"),
    ],
)
def test_a_model_that_an_algorithm_cannot_work_with_is_refused(algorithm, match):
    model = nn.Linear(2, 2, bias=False)
    inner = InnerLoop.from_config(settings(algorithm))
    with pytest.raises(ConfigError, match=match):
        Engine(model, cross_entropy_loss, inner, "loop", algorithm)


def test_a_matrix_that_would_be_too_large_is_refused():
    inner = InnerLoop.from_config(settings("meta_curvature"))
    with pytest.raises(ConfigError, match="weight has shape"):
        Engine(nn.Linear(3000, 2), cross_entropy_loss, inner, "loop", "meta_curvature")


def test_regressions_are_no_classes():
    inner = InnerLoop.from_config(settings("protonet"))
    with pytest.raises(ConfigError, match="these tasks are regressions"):
        Engine(network(), mse_loss, inner, "loop", "protonet")


def test_an_operation_without_a_second_derivative_is_named():
    """1. The gradient of an operation is written by hand and has none of its own."""

    @mx.custom_function
    def double(x):
        return 2 * x

    @double.vjp
    def _(primals, dy, _output):
        raise ValueError("Primitive::vjp Not implemented for Double")

    class Doubled(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(2, 2)

        def __call__(self, x):
            return double(self.head(x))

    model, section = Doubled(), settings("maml")
    meta = start(model, section)
    with pytest.raises(ConfigError, match="first_order: true"):
        trained(model, section, "loop", [a_task()], meta)


def test_episodes_need_queries():
    model, section = network(), settings("maml")
    task = a_task()._replace(
        query_x=np.zeros((0, 2), np.float32), query_y=np.zeros(0, np.int32)
    )
    with pytest.raises(ShapeError, match="train_query_size"):
        trained(model, section, "loop", [task], start(model, section))

"""The inner loop: gradient steps on one task, as a pure function."""

from functools import partial

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpeft.config import MetaLearningSection, RunConfig
from mlpeft.meta.functional import Functional, get_params
from mlpeft.meta.inner import InnerLoop, inner_loop, last
from mlpeft.meta.support import PreparedSupport, SupportPlan, as_arrays
from mlpeft.models.conv4 import Conv4
from mlpeft.models.losses import cross_entropy_loss, mse_loss
from mlpeft.models.mlp import SimpleClassifier


class Line(nn.Module):
    """`y = w x`, the model whose gradients fit in a comment."""

    def __init__(self, w: float) -> None:
        super().__init__()
        self.w = mx.array([[w]])

    def __call__(self, x: mx.array) -> mx.array:
        return x @ self.w


def run(model, inner, x, y, *, state=None, loss=mse_loss):
    """The last iterate of an inner loop on one support set."""
    functional = Functional(model, loss)
    rng = partial(np.random.default_rng, 0)
    support = PreparedSupport.of_task(functional, inner, x, y, rng)
    with functional.installed():
        theta = get_params(model)
        return last(inner_loop(functional, inner, theta, state or {}, support))


ONE = np.ones((1, 1), np.float32)


def test_sgd_steps_follow_the_gradient_worked_out_by_hand():
    """loss = (w - 4)^2, gradient 2 (w - 4), lr 0.1: the gap shrinks by 0.8 a step.

    1 -> 1.6 -> 2.08; before the second step the loss is (1.6 - 4)^2 = 5.76.
    """
    adapted, _, loss = run(Line(1.0), InnerLoop(lr=0.1, num_steps=2), ONE, 4 * ONE)
    assert adapted["w"].item() == pytest.approx(2.08)
    assert loss.item() == pytest.approx(5.76)


def test_adams_first_step_from_fresh_moments_is_lr_times_the_sign():
    inner = InnerLoop(lr=0.1, num_steps=1, optimizer="adam")
    up, _, _ = run(Line(1.0), inner, ONE, 4 * ONE)
    down, _, _ = run(Line(1.0), inner, ONE, -400 * ONE)
    assert up["w"].item() == pytest.approx(1.1)
    assert down["w"].item() == pytest.approx(0.9)


def test_adam_with_momentum_agrees_with_mlx():
    import mlx.optimizers as optim

    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 3)).astype(np.float32)
    y = rng.integers(0, 2, 6).astype(np.int32)
    model = SimpleClassifier(3, 8, 2)
    inner = InnerLoop(lr=0.01, num_steps=4, optimizer="adam", beta1=0.9)
    adapted, _, _ = run(model, inner, x, y, loss=cross_entropy_loss)

    reference = optim.Adam(0.01, betas=[0.9, 0.999], bias_correction=True)
    step = nn.value_and_grad(
        model, lambda: cross_entropy_loss(model(mx.array(x)), mx.array(y))
    )
    for _ in range(4):
        _, grads = step()
        reference.update(model, grads)
    for name, leaf in get_params(model).items():
        np.testing.assert_allclose(adapted[name], leaf, rtol=2e-5, atol=2e-6)


def test_carried_moments_go_on_where_the_state_says():
    """Two steps at once are one step, and another one with the first's state."""
    once = InnerLoop(lr=0.1, num_steps=1, optimizer="adam", state="carry")
    twice = InnerLoop(lr=0.1, num_steps=2, optimizer="adam", state="carry")
    whole, _, _ = run(Line(1.0), twice, ONE, 4 * ONE)
    first, state, _ = run(Line(1.0), once, ONE, 4 * ONE)
    second, _, _ = run(Line(first["w"].item()), once, ONE, 4 * ONE, state=state)
    fresh, _, _ = run(Line(first["w"].item()), once, ONE, 4 * ONE)
    assert second["w"].item() == pytest.approx(whole["w"].item(), rel=1e-6)
    assert fresh["w"].item() != pytest.approx(whole["w"].item(), rel=1e-3)


def test_a_clipped_gradient_has_the_norm_of_the_clip():
    """The gradient is 2 (1 - 4) = -6; clipped to 0.5, a step of lr 0.1 is 0.05."""
    inner = InnerLoop(lr=0.1, num_steps=1, grad_clip=0.5)
    adapted, _, _ = run(Line(1.0), inner, ONE, 4 * ONE)
    assert adapted["w"].item() == pytest.approx(1.05)


def test_each_step_sees_its_own_batch():
    """From 0 with lr 0.5, one step goes all the way to its target: the last one's."""
    x = np.ones((2, 1), np.float32)
    y = np.array([[3.0], [7.0]], np.float32)
    inner = InnerLoop(lr=0.5, num_steps=2, batch_size=1)
    adapted, _, loss = run(Line(0.0), inner, x, y)
    first, second = y[np.random.default_rng(0).permutation(2), 0]
    assert adapted["w"].item() == pytest.approx(second)
    assert loss.item() == pytest.approx((second - first) ** 2)


def test_every_iterate_is_seen_from_the_start_on():
    """As above by hand: 1, 1.6, 2.08."""
    functional = Functional(Line(1.0), mse_loss)
    inner = InnerLoop(lr=0.1, num_steps=2)
    make_rng = np.random.default_rng
    support = PreparedSupport.of_task(functional, inner, ONE, 4 * ONE, make_rng)
    theta = get_params(functional.model)
    with functional.installed():
        iterates = list(inner_loop(functional, inner, theta, {}, support))
    assert [i.params["w"].item() for i in iterates] == pytest.approx([1, 1.6, 2.08])
    assert [i.loss.item() for i in iterates] == pytest.approx([0, 9, 5.76])


@given(
    support=st.integers(2, 30),
    size=st.integers(1, 30),
    steps=st.integers(1, 12),
    seed=st.integers(0, 2**32),
)
def test_inner_batches_use_every_example_before_any_again(support, size, steps, seed):
    inner = InnerLoop(num_steps=steps, batch_size=size)
    order = inner.batches(support, lambda: np.random.default_rng(seed))
    if size >= support:
        assert order is None
        return
    assert order.shape == (steps, size)
    flat = order.ravel()
    for start in range(0, len(flat), support):
        cycle = flat[start : start + support]
        assert len(set(cycle.tolist())) == len(cycle)


def test_without_steps_there_are_no_batches():
    """The start comes back, also where a step would have had a batch of its own."""
    inner = InnerLoop(num_steps=0, batch_size=1)
    assert inner.batches(3, np.random.default_rng) is None
    x, y = np.ones((3, 1), np.float32), np.ones((3, 1), np.float32)
    assert run(Line(2.0), inner, x, y).params["w"].item() == 2.0


@pytest.mark.parametrize("batch_size", [None, 2])
def test_tasks_side_by_side_see_what_each_sees_alone(batch_size):
    rng = np.random.default_rng(0)
    inner = InnerLoop(num_steps=3, batch_size=batch_size)
    plans = [
        SupportPlan.draw(
            inner,
            rng.normal(size=(5, 2)),
            rng.integers(0, 2, 5),
            partial(np.random.default_rng, number),
            dropout=True,
        )
        for number in range(4)
    ]
    stacked = PreparedSupport.of(SupportPlan.stack(plans), as_arrays)
    for number, plan in enumerate(plans):
        alone = PreparedSupport.of(plan, as_arrays)
        np.testing.assert_array_equal(stacked.whole.x[number], alone.whole.x)
        for together, batch in zip(stacked.steps(3), alone.steps(3), strict=True):
            for column, part in zip(together, batch, strict=True):
                np.testing.assert_array_equal(column[number], part)


def test_a_plan_as_seen_has_the_same_batches_and_their_examples_as_its_set():
    """Three batches of two out of three: each example is in the set twice."""
    x, y = np.arange(3.0)[:, None], np.arange(3)
    inner = InnerLoop(num_steps=3, batch_size=2)
    plan = SupportPlan.draw(inner, x, y, np.random.default_rng, dropout=False)
    seen = plan.as_seen(3)
    assert sorted(seen.y.tolist()) == [0, 0, 1, 1, 2, 2]
    for step in range(3):
        for ours, theirs in zip(seen.seen_by(step), plan.seen_by(step), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_set_too_small_for_batches_is_seen_whole_by_every_step():
    inner = InnerLoop(num_steps=2, batch_size=9)
    x, y = np.arange(2.0)[:, None], np.arange(2)
    plan = SupportPlan.draw(inner, x, y, np.random.default_rng, dropout=False)
    assert plan.as_seen(2).y.tolist() == [0, 1, 0, 1]


def test_micro_batches_are_the_parts_of_a_steps_inputs():
    x, y = np.arange(5.0)[:, None], np.arange(5)
    plan = SupportPlan(x, y)
    support = PreparedSupport.of(plan, as_arrays, 2)
    (batch,) = support.steps(1)
    assert [part.shape[0] for part in batch.x] == [2, 2, 1]
    assert batch.y.shape == support.whole.y.shape == (5,)


def test_evaluation_has_steps_and_batches_of_its_own():
    """Five steps in training: ten at evaluation, unless told otherwise."""
    assert InnerLoop.for_evaluation(RunConfig()) == InnerLoop(num_steps=10)
    config = RunConfig.from_dict(
        {
            "meta_learning": {"inner_lr": 0.5, "inner_batch_size": 4},
            "evaluation": {"num_inner_steps": 3, "inner_batch_size": 7},
        }
    )
    assert InnerLoop.for_evaluation(config) == InnerLoop(
        lr=0.5, num_steps=3, batch_size=7
    )


def test_defaults_are_those_of_the_configuration():
    assert InnerLoop() == InnerLoop.from_config(MetaLearningSection())


def test_the_model_is_as_it_was_after_an_inner_loop():
    model = Conv4(num_classes=3, image_size=8, filters=4)
    before = {name: np.array(leaf) for name, leaf in get_params(model).items()}
    x = np.random.default_rng(0).random((6, 8, 8, 1), np.float32)
    y = np.arange(6, dtype=np.int32) % 3
    run(model, InnerLoop(num_steps=2), x, y, loss=cross_entropy_loss)
    for name, leaf in get_params(model).items():
        np.testing.assert_array_equal(before[name], leaf)


def test_the_model_is_as_it_was_after_a_failure():
    model = SimpleClassifier(2, 4, 2)
    before = np.array(model.layers[0].weight)
    with pytest.raises(ValueError, match="input_dim=2"):
        run(
            model,
            InnerLoop(),
            np.zeros((3, 5), np.float32),
            np.zeros(3, np.int32),
            loss=cross_entropy_loss,
        )
    np.testing.assert_array_equal(before, model.layers[0].weight)


def test_a_frozen_leaf_takes_no_part():
    model = SimpleClassifier(2, 4, 2)
    model.layers[0].freeze()
    adapted, _, _ = run(
        model,
        InnerLoop(num_steps=1),
        np.ones((3, 2), np.float32),
        np.array([0, 1, 0], np.int32),
        loss=cross_entropy_loss,
    )
    assert "layers.0.weight" not in adapted
    assert "layers.1.weight" in adapted

"""The outer step: from a round's updates to the next meta-state."""

import mlx.core as mx
import numpy as np
import pytest

from mlpeft import params
from mlpeft.config import MetaLearningSection
from mlpeft.fused import Program
from mlpeft.meta.aggregate import combine
from mlpeft.meta.outer import OuterStep, scheduled
from mlpeft.rounds import SummedTotals


def tree(value):
    return {"w": np.full((2, 3), value, np.float32)}


def moved(outer, theta, mean, done=0):
    return outer.step(theta, mean, done).meta["w"][0, 0]


def test_reptile_moves_theta_to_the_mean_by_the_outer_lr():
    """Algorithm 2 of the paper: 1 + 0.5 ((0.8 + 1.6) / 2 - 1) = 1.1."""
    mean = combine(SummedTotals(params.add(tree(0.8), tree(1.6)), 2))
    assert moved(OuterStep(lr=0.5, state={}), tree(1.0), mean) == pytest.approx(1.1)


def test_an_outer_lr_of_zero_changes_no_byte():
    theta = tree(0.1)
    result = OuterStep(lr=0.0, state={}).step(theta, tree(7.0), 0)
    assert params.digest(result.meta) == params.digest(theta)
    assert result.param_diff == 0.0


def test_an_outer_lr_of_one_adopts_the_mean():
    assert moved(OuterStep(lr=1.0, state={}), tree(3.0), tree(5.0)) == 5.0


def test_param_diff_is_the_distance_that_theta_moved():
    """Six numbers move by 2 each: sqrt(6 x 4)."""
    result = OuterStep(lr=0.5, state={}).step(tree(1.0), tree(5.0), 0)
    assert result.param_diff == pytest.approx(np.sqrt(24.0))


def test_a_large_pseudo_gradient_is_clipped_to_its_norm():
    """The change has norm lr x clip, in the same direction."""
    outer = OuterStep(lr=0.5, clip=2.0, state={})
    result = outer.step(tree(0.0), tree(10.0), 0)
    assert result.param_diff == pytest.approx(1.0)
    assert (result.meta["w"] > 0).all()


def test_carried_inner_state_becomes_the_mean_over_tasks():
    meta = tree(1.0) | {"inner_state/step": np.array([5.0], np.float32)}
    mean = tree(1.0) | {"inner_state/step": np.array([10.0], np.float32)}
    result = OuterStep(lr=0.1, state={}).step(meta, mean, 0)
    assert result.meta["inner_state/step"] == [10.0]


def test_adam_first_moves_by_the_outer_lr():
    """Bias-corrected Adam: the first step is lr sign(gradient)."""
    outer = OuterStep(lr=0.01, optimizer="adam", state={})
    assert moved(outer, tree(0.0), tree(3.0)) == pytest.approx(0.01, rel=1e-4)
    assert set(outer.state) == {"m/w", "v/w"}


def test_nesterov_looks_ahead_along_its_velocity():
    """lr 0.5, mu 0.9, gradient 1: m = 1, 1.9; changes 0.5 (1 + 0.9), 0.5 (1 + 1.71).

    The mean is where theta is, less one, each time.
    """
    outer = OuterStep(lr=0.5, optimizer="nesterov", state={})
    assert moved(outer, tree(0.0), tree(-1.0)) == pytest.approx(-0.95)
    assert moved(outer, tree(-0.95), tree(-1.95), 1) == pytest.approx(-0.95 - 1.355)
    assert set(outer.state) == {"m/w"}


def test_nesterov_without_momentum_is_the_interpolation():
    plain = OuterStep(lr=0.3, state={}).step(tree(0.7), tree(1.1), 0)
    outer = OuterStep(lr=0.3, optimizer="nesterov", momentum=0.0, state={})
    assert params.digest(outer.step(tree(0.7), tree(1.1), 0).meta) == params.digest(
        plain.meta
    )


def test_a_step_leaves_the_moments_of_the_step_before_as_they_were():
    """A snapshot of them may still be on its way to a checkpoint."""
    for optimizer in ("nesterov", "adam"):
        outer = OuterStep(lr=0.5, optimizer=optimizer, state={})
        outer.step(tree(0.0), tree(3.0), 0)
        before = dict(outer.state)
        digest = params.digest(before)
        outer.step(tree(0.0), tree(5.0), 1)
        assert params.digest(before) == digest


@pytest.mark.parametrize(
    ("schedule", "half", "end"),
    [("constant", 1.0, 1.0), ("linear", 0.6, 0.2), ("cosine", 0.6, 0.2)],
)
def test_a_schedule_starts_at_the_first_value_and_ends_at_the_last(schedule, half, end):
    values = [scheduled(schedule, 1.0, 0.2, done, 10) for done in range(11)]
    assert values[0] == 1.0
    assert values[5] == pytest.approx(half)
    assert values[10] == pytest.approx(end)
    assert values == sorted(values, reverse=True)


def test_the_cosine_schedule_stays_above_the_linear_one_at_first():
    assert scheduled("cosine", 1.0, 0.0, 2, 10) > scheduled("linear", 1.0, 0.0, 2, 10)


def test_defaults_are_those_of_the_configuration():
    assert OuterStep(state={}) == OuterStep.from_config(MetaLearningSection())


@pytest.mark.parametrize("size", [1, 15, 16, 37, 1000])
def test_the_length_of_a_step_is_that_of_native_code(size):
    """Bit for bit, so that reports do not depend on who takes the outer step."""
    rng = np.random.default_rng(size)
    theta = {"a": rng.normal(size=size).astype(np.float32)}
    program = Program(lambda x, _: (x * 1.5,), [mx.zeros(size), mx.zeros(1)], lambda: 1)
    _, _, moved = program.iterate(
        [theta["a"], np.zeros((1, 1), np.float32)],
        (True, False),
        np.array([0.3], np.float32),
        from_theta=False,
    )
    step = OuterStep(algorithm="fomaml", lr=0.3, state={})
    assert step.step(theta, params.scale(theta, np.float32(1.5)), 0).param_diff == moved

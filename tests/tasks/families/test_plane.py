"""Linear and nonlinear classification: balance, fixed boundaries, task_params."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpeft.errors import ConfigError
from mlpeft.tasks.episode import TaskConfig
from mlpeft.tasks.families import get_family
from mlpeft.tasks.families.classification import PATTERNS

LINEAR = "linear_classification"
NONLINEAR = "nonlinear_classification"


def draw(task, seed=0):
    family = get_family(task.task_family)
    family.check(task)
    return family.sample(task, np.random.default_rng(seed))


def agreement(known, asked):
    """Share of `asked` points whose nearest `known` point has their label."""
    (x, y), (query_x, query_y) = known, asked
    distance = ((query_x[:, None] - x[None]) ** 2).sum(-1)
    return (y[distance.argmin(1)] == query_y).mean()


tasks = st.builds(
    TaskConfig,
    task_id=st.text(min_size=1, max_size=8),
    task_family=st.sampled_from([LINEAR, NONLINEAR]),
    num_classes=st.integers(2, 9),
    input_dim=st.integers(1, 12),
    support_size=st.integers(1, 30),
    query_size=st.integers(0, 40),
)


@given(tasks, st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_sets_have_their_sizes_and_are_balanced(task, seed):
    episode = draw(task, seed)
    for x, y, size in (
        (episode.support_x, episode.support_y, task.support_size),
        (episode.query_x, episode.query_y, task.query_size),
    ):
        assert x.shape == (size, task.input_dim)
        assert x.dtype == np.float32
        assert y.shape == (size,)
        assert y.dtype == np.int32
        assert np.isfinite(x).all()
        counts = np.bincount(y, minlength=task.num_classes)
        assert len(counts) == task.num_classes
        assert counts.max() - counts.min() <= 1


@given(tasks, st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_the_same_generator_samples_the_same_episode(task, seed):
    for first, second in zip(draw(task, seed), draw(task, seed), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("input_dim", [1, 2])
@pytest.mark.parametrize("num_classes", [2, 3, 5])
@pytest.mark.parametrize("pattern", [None, *PATTERNS])
def test_every_episode_of_a_task_has_the_same_boundary(pattern, num_classes, input_dim):
    """Points of one episode predict the labels of another.

    Two classes that overlap would leave about 1 / num_classes of agreement.
    """
    family = NONLINEAR if pattern else LINEAR
    params = {"pattern": pattern} if pattern else {}
    task = TaskConfig("a", family, num_classes, input_dim, 3000, 500, params)
    one, two = draw(task, 1), draw(task, 2)
    assert agreement(one[:2], two[2:]) > 0.93


@pytest.mark.parametrize("num_classes", [2, 3, 6])
def test_linear_classes_are_separated_by_the_largest_linear_function(num_classes):
    """Least squares finds sector k's own linear function well enough for 2 classes; for
    more, the vertices of a regular polygon, turned and moved as the task is, must be
    exact: x belongs to the vertex that it is nearest to in angle."""
    params = {"rotation_angle": 0.7, "translation": [0.3, -0.2]}
    task = TaskConfig("a", LINEAR, num_classes, 2, 600, 600, params)
    x, y, *_ = draw(task)
    angles = 0.7 + 2 * math.pi * (np.arange(num_classes) + 0.5) / num_classes
    weights = np.stack([np.cos(angles), np.sin(angles)])
    scores = (x - np.array([0.3, -0.2])) @ weights
    # Points on a boundary may fall to either side in float32.
    assert (scores.argmax(1) == y).mean() > 0.995


@pytest.mark.parametrize("pattern", PATTERNS)
def test_no_linear_boundary_separates_nonlinear_classes(pattern):
    task = TaskConfig("a", NONLINEAR, 2, 2, 2000, 0, {"pattern": pattern})
    x, y, *_ = draw(task)
    design = np.column_stack([x, np.ones(len(x))])
    weights, *_ = np.linalg.lstsq(design, 2.0 * y - 1.0, rcond=None)
    assert ((design @ weights > 0) == y).mean() < 0.85


def test_circles_are_rings_of_equal_probability_about_the_translation():
    params = {"pattern": "circles", "translation": [1.0, 2.0]}
    x, y, *_ = draw(TaskConfig("a", NONLINEAR, 3, 2, 900, 0, params))
    radius = np.hypot(*(x - [1.0, 2.0]).T)
    assert radius[y == 0].max() < radius[y == 1].min() + 1e-5
    assert radius[y == 1].max() < radius[y == 2].min() + 1e-5


def test_different_task_ids_have_different_boundaries():
    one = TaskConfig("a", LINEAR, 2, 2, 500, 0)
    shares = [
        agreement(draw(one)[:2], draw(TaskConfig(str(n), LINEAR, 2, 2, 500, 0))[:2])
        for n in range(20)
    ]
    assert min(shares) < 0.8
    assert len(set(shares)) > 10


def test_the_rotation_angle_rotates_the_boundary():
    """Half a turn swaps two linear classes; a full turn changes nothing."""

    def turned(angle):
        params = {"rotation_angle": angle, "translation": 0.0}
        return draw(TaskConfig("a", LINEAR, 2, 2, 400, 0, params))[:2]

    x, y = turned(1.0)
    half_x, half_y = turned(1.0 + math.pi)
    full_x, full_y = turned(1.0 + 2 * math.pi)
    assert agreement((x, y), (half_x, half_y)) < 0.03
    assert agreement((x, y), (full_x, full_y)) > 0.97
    np.testing.assert_allclose(half_x, -x, atol=1e-5)


def test_half_a_turn_swaps_the_ends_of_a_line():
    def turned(angle):
        params = {"rotation_angle": angle, "translation": 0.0}
        return draw(TaskConfig("a", LINEAR, 3, 1, 300, 0, params))

    np.testing.assert_allclose(
        turned(0.0).support_x, -turned(math.pi).support_x, atol=1e-6
    )


def test_the_translation_moves_every_point():
    def moved(translation):
        params = {"rotation_angle": 0.0, "translation": translation}
        return draw(TaskConfig("a", LINEAR, 2, 3, 50, 0, params)).support_x

    np.testing.assert_allclose(
        moved([1.0, -2.0, 5.0]) - moved(0.0), [[1.0, -2.0, 5.0]] * 50, atol=1e-5
    )
    np.testing.assert_allclose(moved(3.0) - moved(0.0), 3.0, atol=1e-5)


def test_noise_blurs_the_points_and_not_the_labels():
    def noisy(noise):
        params = {"noise": noise} if noise else {}
        return draw(TaskConfig("a", LINEAR, 2, 2, 4000, 0, params))

    exact, blurred = noisy(0.0), noisy(0.5)
    np.testing.assert_array_equal(exact.support_y, blurred.support_y)
    noise = blurred.support_x - exact.support_x
    assert abs(noise.std() - 0.5) < 0.02
    assert abs(noise.mean()) < 0.03


def test_inputs_are_equally_wide_in_every_direction():
    params = {"translation": 0.0}
    x = draw(TaskConfig("a", NONLINEAR, 3, 5, 6000, 0, params)).support_x
    np.testing.assert_allclose(x.std(0), 2.0, atol=0.1)
    np.testing.assert_allclose(x.mean(0), 0.0, atol=0.1)


def test_further_input_dimensions_are_noise():
    x, y, *_ = draw(TaskConfig("a", LINEAR, 2, 6, 6000, 0))
    shift = x[y == 0].mean(0) - x[y == 1].mean(0)
    assert np.abs(shift[:2]).max() > 1.0
    assert np.abs(shift[2:]).max() < 0.25


def test_all_problems_of_a_task_are_reported_at_once():
    params = {"rotatoin_angle": 1.0, "noise": -1, "translation": [1.0], "pattern": "x"}
    task = TaskConfig("", NONLINEAR, 1, 0, 0, -1, params)
    with pytest.raises(ConfigError) as caught:
        get_family(NONLINEAR).check(task)
    text = str(caught.value)
    assert len(caught.value.problems) == 9
    for part in (
        "task_id: expected a string, got ''",
        "num_classes: expected at least 2, got 1",
        "input_dim: expected at least 1, got 0",
        "support_size: expected at least 1, got 0",
        "query_size: expected at least 0, got -1",
        "did you mean 'rotation_angle'?",
        "noise: expected a number of at least 0, got -1",
        "translation: expected a number or a list of 0",
        "pattern: 'x' is not valid",
    ):
        assert part in text


@pytest.mark.parametrize("value", ["1", None, float("nan"), True, [1.0]])
def test_a_rotation_angle_that_is_no_number_is_refused(value):
    task = TaskConfig("a", LINEAR, task_params={"rotation_angle": value})
    with pytest.raises(ConfigError, match="rotation_angle: expected a number"):
        get_family(LINEAR).check(task)


def test_sizes_that_are_no_integers_are_refused():
    with pytest.raises(ConfigError, match=r"support_size: expected an integer"):
        get_family(LINEAR).check(TaskConfig("a", LINEAR, support_size=5.0))


def test_linear_tasks_have_no_pattern():
    with pytest.raises(ConfigError, match="unknown to linear_classification"):
        get_family(LINEAR).check(
            TaskConfig("a", LINEAR, task_params={"pattern": "xor"})
        )


def test_numpy_numbers_are_as_good_as_python_ones():
    params = {"rotation_angle": np.float64(0.5), "translation": np.array([0.1, 0.2])}
    plain = {"rotation_angle": 0.5, "translation": [0.1, 0.2]}
    one = draw(TaskConfig("a", LINEAR, 2, 2, 20, 0, params))
    two = draw(TaskConfig("a", LINEAR, 2, 2, 20, 0, plain))
    np.testing.assert_array_equal(one.support_x, two.support_x)


def test_an_unknown_family_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'linear_classification'"):
        get_family("linear_clasification")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("linear", "'linear_classification'?"),
        ("Linear Classification", "'linear_classification'?"),
        ("classification", "'linear_classification' or 'nonlinear_classification'?"),
        ("imagenet", "'mini_imagenet' or 'tiered_imagenet'?"),
        ("sinus", "'sinusoid'?"),
    ],
)
def test_a_part_of_a_family_s_name_is_near(name, hint):
    with pytest.raises(ConfigError, match=re.escape(f"did you mean {hint}")):
        get_family(name)

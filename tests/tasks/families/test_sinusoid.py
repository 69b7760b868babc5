"""Sinusoid regression, as in section 6 of the Reptile paper."""

from __future__ import annotations

import numpy as np
import pytest

from mlpeft.errors import ConfigError
from mlpeft.tasks.episode import TaskConfig
from mlpeft.tasks.families import get_family


def draw(task, seed=0):
    family = get_family("sinusoid")
    family.check(task)
    return family.sample(task, np.random.default_rng(seed))


def fitted(x, y):
    """Amplitude and phase of y = a sin(x + b), by least squares on sin and cos."""
    design = np.column_stack([np.sin(x), np.cos(x)]).astype(np.float64)
    (sine, cosine), *_ = np.linalg.lstsq(design, y, rcond=None)
    return np.hypot(sine, cosine), np.arctan2(cosine, sine) % (2 * np.pi)


def test_a_task_is_one_wave_in_every_episode():
    task = TaskConfig("a", "sinusoid", 1, 1, 30, 30)
    one, two = draw(task, 1), draw(task, 2)
    assert one.support_x.shape == one.support_y.shape == (30, 1)
    assert one.support_y.dtype == np.float32
    amplitude, phase = fitted(one.support_x[:, 0], one.support_y[:, 0])
    predicted = amplitude * np.sin(two.query_x + phase)
    np.testing.assert_allclose(predicted, two.query_y, atol=1e-5)
    assert not np.array_equal(one.support_x, two.support_x)


def test_amplitude_and_phase_and_inputs_have_the_papers_ranges():
    waves = []
    inputs = []
    for number in range(400):
        x, y, *_ = draw(TaskConfig(str(number), "sinusoid", 1, 1, 20, 0), number)
        waves.append(fitted(x[:, 0], y[:, 0]))
        inputs.append(x)
    amplitude, phase = np.array(waves).T
    assert 0.0999 < amplitude.min() < 0.3
    assert 4.8 < amplitude.max() < 5.0001
    assert phase.min() < 0.2
    assert phase.max() > 6.0
    assert -5.0 <= np.min(inputs) < -4.95
    assert 4.95 < np.max(inputs) <= 5.0


def test_amplitude_and_phase_can_be_set():
    params = {"amplitude": 2.0, "phase": 0.5}
    x, y, *_ = draw(TaskConfig("a", "sinusoid", 1, 1, 20, 0, params))
    np.testing.assert_allclose(y, 2.0 * np.sin(x + 0.5), atol=1e-5)


def test_every_output_has_a_wave_of_its_own():
    params = {"amplitude": [1.0, 2.0], "phase": [0.0, 1.0]}
    x, y, *_ = draw(TaskConfig("a", "sinusoid", 2, 1, 20, 0, params))
    np.testing.assert_allclose(y[:, :1], np.sin(x), atol=1e-5)
    np.testing.assert_allclose(y[:, 1:], 2.0 * np.sin(x + 1.0), atol=1e-5)
    _, y, *_ = draw(TaskConfig("a", "sinusoid", 2, 1, 20, 0))
    assert not np.allclose(y[:, 0], y[:, 1])


def test_many_input_dimensions_are_projected_on_a_unit_vector():
    params = {"amplitude": 1.0, "phase": 0.0}
    x, y, *_ = draw(TaskConfig("a", "sinusoid", 1, 4, 50, 0, params))
    assert x.shape == (50, 4)
    projected = x @ np.full((4, 1), 0.5)
    np.testing.assert_allclose(y, np.sin(projected), atol=1e-5)


def test_all_parameters_that_are_no_numbers_are_reported():
    params = {"amplitude": [1.0, 2.0], "phase": "x", "frequency": 2}
    with pytest.raises(ConfigError) as caught:
        get_family("sinusoid").check(TaskConfig("a", "sinusoid", 1, 1, 5, 5, params))
    assert len(caught.value.problems) == 3

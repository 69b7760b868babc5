"""A head on several layers sees all columns; every other kind sees the last layer."""

from __future__ import annotations

import numpy as np
import pytest

from mlpeft.heads.auto import HEADS, KINDS, fit_head
from mlpeft.heads.examples import Examples
from mlpeft.heads.layers import fit_layers
from mlpeft.heads.linear import narrowed
from mlpeft.heads.logistic import fit_logistic

CLASSES, LAST = 4, 6


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def sample(count: int, lower_tells: bool, seed: int = 0) -> Examples:
    """The last layer's unit vectors tell two classes of four, the lower ones' all."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % CLASSES
    last = np.eye(LAST)[y % 2] + 0.2 * rng.normal(size=(count, LAST))
    lower = lower_tells * np.eye(50)[y] + 0.1 * rng.normal(size=(count, 50))
    x = unit(np.concatenate([unit(last), unit(lower)], axis=1))
    return Examples.of(x, y, CLASSES, last_dims=LAST)


@pytest.mark.parametrize("count", [12, 80], ids=["few", "more than columns"])
def test_few_dimensions_give_the_solution_of_all_columns(count):
    examples = sample(count, lower_tells=True)
    quick, direct = fit_layers(examples), fit_logistic(examples)
    np.testing.assert_allclose(quick.weight, direct.weight, atol=2e-2)
    x = sample(40, lower_tells=True, seed=1).x
    np.testing.assert_allclose(quick(x), direct(x), atol=2e-2)


def test_copies_of_a_text_do_no_harm():
    rows = np.tile(np.arange(8), 3)
    examples = sample(8, lower_tells=True)[rows]
    assert np.isfinite(fit_layers(examples).weight).all()
    assert (fit_layers(examples)(examples.x).argmax(axis=1) == examples.y).all()


def test_the_layers_are_chosen_where_they_tell_more():
    examples, more = (sample(48, lower_tells=True, seed=seed) for seed in (0, 1))
    fitted = fit_head(examples)
    assert fitted.kind == "layers"
    assert (fitted.head(more.x).argmax(axis=1) == more.y).mean() > 0.95
    assert fitted.accuracy["logistic"] < 0.7


def test_the_layers_are_left_out_where_there_are_none():
    fitted = fit_head(sample(48, lower_tells=True).of_last_layer())
    assert "layers" not in fitted.held_out


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"auto", "layers"}))
def test_other_kinds_see_the_last_layer_alone(kind):
    examples = sample(32, lower_tells=True)
    wide, narrow = (
        fit_head(given, kind).head for given in (examples, examples.of_last_layer())
    )
    np.testing.assert_array_equal(wide.weight, narrow.weight)
    np.testing.assert_array_equal(wide(examples.x), narrow(examples.of_last_layer().x))


def test_the_last_layers_part_is_a_unit_vector_again():
    x = unit(np.array([[3.0, 4.0, 5.0], [1.0, 0.0, 2.0]]))
    np.testing.assert_allclose(narrowed(x, 2), [[0.6, 0.8], [1.0, 0.0]])
    assert narrowed(x, 3) is x
    assert set(HEADS) < set(KINDS)

"""Heads on several layers, or on n-grams, see more than the last layer."""

from __future__ import annotations

import numpy as np
import pytest

from mlpeft.heads.auto import HEADS, KINDS, fit_head
from mlpeft.heads.examples import Examples
from mlpeft.heads.layers import fit_layers, fit_ngrams
from mlpeft.heads.linear import narrowed
from mlpeft.heads.logistic import fit_logistic
from mlpeft.heads.temperature import cross_entropy

CLASSES, LAST, LAYERS = 4, 6, 56


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def sample(
    count: int, seed: int = 0, *, lower: float = 0.0, ngrams: float | None = None
) -> Examples:
    """The last layer tells two classes of four, as clearly as told others tell all."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % CLASSES
    last = unit(np.eye(LAST)[y % 2] + 0.2 * rng.normal(size=(count, LAST)))
    noise = 0.1 * rng.normal(size=(2, count, LAYERS - LAST))
    parts = [last, unit(lower * np.eye(LAYERS - LAST)[y] + noise[0])]
    x = unit(np.concatenate(parts, axis=1))
    if ngrams is not None:
        told = unit(ngrams * np.eye(LAYERS - LAST)[y] + noise[1])
        x = np.concatenate([x, told], axis=1)
    return Examples.of(x, y, CLASSES, last_dims=LAST, layers_dims=LAYERS)


@pytest.mark.parametrize("count", [12, 80], ids=["few", "more than columns"])
def test_few_dimensions_give_the_solution_of_all_columns(count):
    examples = sample(count, lower=1.0)
    quick, direct = fit_layers(examples), fit_logistic(examples)
    np.testing.assert_allclose(quick.weight, direct.weight, atol=2e-2)
    x = sample(40, seed=1, lower=1.0).x
    np.testing.assert_allclose(quick(x), direct(x), atol=2e-2)


def test_copies_of_a_text_do_no_harm():
    rows = np.tile(np.arange(8), 3)
    examples = sample(8, lower=1.0)[rows]
    assert np.isfinite(fit_layers(examples).weight).all()
    assert (fit_layers(examples)(examples.x).argmax(axis=1) == examples.y).all()


def test_the_layers_are_chosen_where_they_tell_more():
    examples, more = (sample(48, seed, lower=1.0, ngrams=0.0) for seed in (0, 1))
    fitted = fit_head(examples)
    assert fitted.kind == "layers"
    assert (fitted.head(more.x).argmax(axis=1) == more.y).mean() > 0.95
    assert fitted.accuracy["logistic"] < 0.7


def test_ngrams_are_chosen_where_they_tell_more():
    examples, more = (sample(48, seed, ngrams=1.0) for seed in (0, 1))
    fitted = fit_head(examples)
    assert fitted.kind == "ngrams"
    assert (fitted.head(more.x).argmax(axis=1) == more.y).mean() > 0.95
    assert not fitted.head.weight[:, LAST:LAYERS].any()


def test_ngrams_are_chosen_where_layers_are_better_by_no_more_than_chance():
    examples = sample(48, seed=2, lower=0.31, ngrams=0.28)
    fitted = fit_head(examples)
    assert fitted.kind == "ngrams"
    targets = examples.targets[fitted.rows]
    losses = {k: cross_entropy(v, targets) for k, v in fitted.held_out.items()}
    assert min(losses, key=losses.__getitem__) == "layers"


def test_layers_and_ngrams_are_left_out_where_there_are_none():
    fitted = fit_head(sample(48, lower=1.0, ngrams=1.0).of_last_layer())
    assert not {"layers", "ngrams"} & set(fitted.held_out)


def test_layers_do_not_see_ngrams_and_ngrams_not_the_layers():
    both = sample(32, lower=1.0, ngrams=1.0)
    assert fit_layers(both).weight.shape[1] == LAYERS
    moved = sample(32, lower=1.0, ngrams=1.0)
    moved.x[:, LAST:LAYERS] = moved.x[::-1, LAST:LAYERS]
    np.testing.assert_array_equal(fit_ngrams(both).weight, fit_ngrams(moved).weight)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"auto", "layers", "ngrams"}))
def test_other_kinds_see_the_last_layer_alone(kind):
    examples = sample(32, lower=1.0, ngrams=1.0)
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

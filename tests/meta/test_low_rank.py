"""Matrices as products of narrow ones."""

import numpy as np
import pytest

from mlpeft.meta.low_rank import factors_schema, from_factors, to_factors

RNG = np.random.default_rng(0)


def random(*shape):
    return RNG.standard_normal(shape, dtype=np.float32)


def there_and_back(leaves, rank=4, seed=1):
    flat = np.concatenate([leaf.ravel() for leaf in leaves])
    shapes = [leaf.shape for leaf in leaves]
    packed = to_factors(flat, shapes, rank, np.random.default_rng(seed))
    made = {name: (leaf.shape, str(leaf.dtype)) for name, leaf in packed.items()}
    assert made == factors_schema(shapes, rank)
    return packed, from_factors(packed, shapes, rank)


def lost(matrix, rank=4):
    """Share of the norm."""
    _, back = there_and_back([matrix], rank)
    return np.linalg.norm(back - matrix.ravel()) / np.linalg.norm(matrix)


@pytest.mark.parametrize("true_rank", [1, 3, 4])
def test_a_matrix_of_no_higher_rank_comes_back_whole(true_rank):
    assert lost(random(40, true_rank) @ random(true_rank, 70)) < 1e-5


def test_a_matrix_of_zeros_comes_back_as_zeros():
    assert not there_and_back([np.zeros((20, 30), np.float32)])[1].any()


def test_what_is_kept_is_nearly_the_best_of_that_rank():
    """Singular values 1, 1/2, 1/4, ...: the best of rank 2 loses 0.25 of the norm."""
    left, _ = np.linalg.qr(random(30, 20))
    right, _ = np.linalg.qr(random(20, 20))
    values = 0.5 ** np.arange(20)
    matrix = ((left * values) @ right.T).astype(np.float32)
    assert 0.25 <= lost(matrix, rank=2) < 0.4


def test_filters_are_rows():
    filters = random(16, 1) @ random(1, 3 * 3 * 8)
    assert lost(filters.reshape(16, 3, 3, 8), rank=1) < 1e-5


def test_leaves_that_factors_would_not_make_smaller_come_back_bit_for_bit():
    leaves = [random(7), random(8, 8), random(), random(0, 3)]
    packed, back = there_and_back(leaves)
    flat = np.concatenate([leaf.ravel() for leaf in leaves])
    assert packed["packed/left"].size == 0
    np.testing.assert_array_equal(back, flat)


def test_leaves_keep_their_places_among_others():
    leaves = [random(5), random(20, 1) @ random(1, 30), random(3), random(40, 40) * 0]
    _, back = there_and_back(leaves, rank=2)
    np.testing.assert_array_equal(back[:5], leaves[0])
    np.testing.assert_allclose(back[5:605], leaves[1].ravel(), atol=1e-5)
    np.testing.assert_array_equal(back[605:608], leaves[2])


def test_the_bytes_are_the_same_whatever_the_order_of_the_matrix_in_memory():
    """No BLAS, whose bits would depend on it, and on the machine."""
    matrix = random(30, 50)
    first = there_and_back([matrix])[0]
    again = there_and_back([np.asfortranarray(matrix)])[0]
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)


def test_another_start_finds_other_factors():
    matrix = random(30, 50)
    one, other = (there_and_back([matrix], seed=seed)[1] for seed in (1, 2))
    assert np.abs(one - other).max() > 0.1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_stay_none(bad):
    matrix = random(30, 50)
    matrix[3, 4] = bad
    assert not np.isfinite(there_and_back([matrix])[1]).all()

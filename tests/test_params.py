"""Parameter trees."""

import weakref

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpeft import params
from mlpeft.errors import ParamMismatch


def tree():
    return {
        "layer.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "layer.bias": np.ones(2, np.float32),
    }


def test_a_digest_is_of_names_shapes_types_and_bytes():
    digest = params.digest(tree())
    assert params.digest(dict(reversed(tree().items()))) == digest
    others = [
        tree() | {"layer.bias": np.zeros(2, np.float32)},
        tree() | {"layer.bias": np.ones(2, np.float64)},
        tree() | {"layer.bias": np.ones((2, 1), np.float32)},
        {"x": leaf} if (leaf := tree()["layer.bias"]) is not None else {},
    ]
    assert len({digest, *(params.digest(other) for other in others)}) == 5


def test_numpy_and_mlx_leaves_have_one_schema():
    arrays = {name: mx.array(leaf) for name, leaf in tree().items()}
    assert params.schema(arrays) == params.schema(tree())
    assert params.schema(tree())["layer.bias"] == ((2,), "float32")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layer.bias": None}, "'layer.bias' is missing"),
        ({"extra": np.ones(1)}, "'extra' is not expected"),
        (
            {"layer.bias": np.ones(3, np.float32)},
            r"has shape \(3,\), expected \(2,\)",
        ),
        ({"layer.bias": np.ones(2)}, "is float64, expected float32"),
    ],
)
def test_a_mismatch_names_the_leaf_and_both_sides(given, message):
    changed = {
        name: leaf for name, leaf in (tree() | given).items() if leaf is not None
    }
    with pytest.raises(ParamMismatch, match=message) as caught:
        params.check_schema(params.schema(tree()), changed, "checkpoint a.npz")
    assert "checkpoint a.npz" in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_arithmetic_goes_leaf_by_leaf_on_either_kind_of_array():
    arrays = {name: mx.array(leaf) for name, leaf in tree().items()}
    for kind in (tree(), arrays):
        double = params.add(kind, kind)
        back = params.subtract(double, kind)
        np.testing.assert_array_equal(back["layer.weight"], tree()["layer.weight"])
        np.testing.assert_array_equal(
            params.scale(kind, 2.0)["layer.bias"], double["layer.bias"]
        )


def test_the_global_norm_is_over_all_leaves():
    """0 + 1 + 4 + 9 + 16 + 25 + 1 + 1 = 57."""
    assert params.global_norm(tree()) == pytest.approx(np.sqrt(57.0))
    assert params.count(tree()) == 8


# --- the sum that decides bits --------------------------------------------------------


def uneven(seed, number=6):
    """Sizes differ by powers of three: another order of summation gives other bits."""
    rng = np.random.default_rng(seed)
    return [
        {
            "w": rng.normal(size=(4,)).astype(np.float32) * np.float32(3**index),
            "b": rng.normal(size=(1,)).astype(np.float32),
        }
        for index in range(number)
    ]


@given(order=st.permutations(range(6)), seed=st.integers(0, 1000))
def test_an_ordered_sum_has_the_bits_of_adding_in_order_whatever_comes_first(
    order, seed
):
    trees, summed = uneven(seed), params.OrderedSum()
    for index in order:
        summed.add(index, trees[index])
    for name in ("w", "b"):
        expected = trees[0][name]
        for tree in trees[1:]:
            expected = expected + tree[name]
        assert summed.total[name].tobytes() == expected.tobytes()
        assert summed.total[name].dtype == np.float32


def test_another_order_of_addition_has_other_bits():
    """Otherwise the previous test would prove nothing."""
    forwards, backwards = params.OrderedSum(), params.OrderedSum()
    for index, tree in enumerate(uneven(0)):
        forwards.add(index, tree)
        backwards.add(5 - index, tree)
    assert params.digest(forwards.total) != params.digest(backwards.total)


def test_an_ordered_sum_waits_for_the_tree_that_is_next():
    """0 is in; 2 and 5 wait for 1, which brings 2 along."""
    trees, summed = uneven(0), params.OrderedSum()
    done = []
    for index in (0, 2, 5, 1):
        summed.add(index, trees[index])
        done.append(summed.done)
    assert done == [1, 1, 1, 3]


def test_an_ordered_sum_changes_no_array_that_it_was_given():
    """A worker in this process may still hold them; the sum itself adds in place."""
    trees, summed = uneven(0), params.OrderedSum()
    before = [params.digest(tree) for tree in trees]
    totals = []
    for index, tree in enumerate(trees):
        summed.add(index, tree)
        totals.append(summed.total["w"])
    assert [params.digest(tree) for tree in trees] == before
    assert totals[0] is trees[0]["w"]
    assert totals[1] is not trees[0]["w"]
    assert totals[1] is totals[-1], "from the third tree on there is no new array"


def test_an_ordered_sum_is_made_in_the_first_tree_if_nobody_else_holds_it():
    """Else the second would need memory for a third."""
    trees, summed = uneven(0), params.OrderedSum()
    first, before = trees[0]["w"], params.digest(trees[1])
    expected = params.add(params.add(trees[0], trees[1]), trees[2])
    for index, tree in enumerate(trees[:3]):
        summed.add(index, tree, owned=index == 0)
    assert summed.total["w"] is first
    assert params.digest(summed.total) == params.digest(expected)
    assert params.digest(trees[1]) == before


def test_an_ordered_sum_lets_go_of_what_it_has_added():
    class Leaf(np.ndarray):
        """An array that can be watched."""

    summed = params.OrderedSum()
    watched = []
    for index in range(4):
        leaf = np.ones(3, np.float32).view(Leaf)
        watched.append(weakref.ref(leaf))
        summed.add(index, {"w": leaf})
        del leaf
    assert [watch() is None for watch in watched] == [True] * 4

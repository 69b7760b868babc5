"""Trees of parameters."""

import mlx.core as mx
import numpy as np
import pytest

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

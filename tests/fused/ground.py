"""Runs a function through MLX and as one program, and compares."""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from mlpeft.fused import Program


def natively(function, *arrays):
    """The results of a function for one task, as NumPy arrays."""
    program = Program(function, arrays)
    inputs = [np.asarray(array, order="C") for array in arrays]
    return [leaf[0] for leaf in program(inputs, (True,) * len(inputs))]


def assert_like_mlx(function, *arrays, atol=2e-6, rtol=4e-6):
    """Shapes and dtypes are the same, and numbers within rounding."""
    expected = [np.asarray(leaf) for leaf in function(*arrays)]
    found = natively(function, *arrays)
    for number, (mine, mlxs) in enumerate(zip(found, expected, strict=True)):
        assert (mine.shape, mine.dtype) == (mlxs.shape, mlxs.dtype), number
        np.testing.assert_allclose(mine, mlxs, atol, rtol, err_msg=str(number))


def normal(*shape, seed=0, scale=1.0):
    rng = np.random.default_rng([seed, *shape])
    return mx.array((rng.normal(size=shape) * scale).astype(np.float32))

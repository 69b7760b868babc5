"""Attention and GELU, against MLX's own and the C library."""

from __future__ import annotations

import math

import mlx.core as mx
import numpy as np
import pytest

from mlpeft.models import ops


def random(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return mx.array(rng.normal(size=shape).astype(np.float32))


HEADS = [random(2, 3, 5, 4, seed=seed) * 3 for seed in range(3)]
MASK = mx.array(np.tri(5, dtype=bool))[None, None]
WEIGHTS = random(2, 3, 5, 4, seed=9)


def mlxs(queries, keys, values, mask):
    scale = queries.shape[-1] ** -0.5
    return mx.fast.scaled_dot_product_attention(
        queries, keys, values, scale=scale, mask=mask
    )


def test_attention_is_mlxs():
    np.testing.assert_allclose(
        ops.attention(*HEADS, MASK), mlxs(*HEADS, MASK), atol=1e-5
    )


@pytest.mark.parametrize("wrap", [lambda f: f, mx.compile], ids=["eager", "compiled"])
def test_attentions_gradients_are_mlxs(wrap):
    def gradients(attention):
        def total(*heads):
            return mx.sum(attention(*heads, MASK) * WEIGHTS)

        return wrap(mx.grad(total, argnums=(0, 1, 2)))(*HEADS)

    for ours, theirs in zip(gradients(ops.attention), gradients(mlxs), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_a_key_behind_the_mask_changes_nothing_however_large_it_is():
    """Softmax's largest score must be taken from what is attended to."""
    queries, keys, values = HEADS
    loud = mx.concatenate([keys[:, :, :-1], keys[:, :, -1:] * 1e6], axis=2)
    before = ops.attention(queries, keys, values, MASK)[:, :, :-1]
    after = ops.attention(queries, loud, values, MASK)[:, :, :-1]
    np.testing.assert_array_equal(before, after)


def test_gelu_is_right_everywhere():
    x = np.linspace(-12, 12, 20_001, dtype=np.float32)
    exact = [v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x.tolist()]
    np.testing.assert_allclose(ops.gelu(mx.array(x)), exact, atol=1.5e-6)
    slope = mx.grad(lambda x: mx.sum(ops.gelu(x)))(mx.array(x))
    density = np.exp(-np.square(x.astype(float)) / 2) / math.sqrt(2 * math.pi)
    phi = [0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x.tolist()]
    np.testing.assert_allclose(slope, phi + x * density, atol=2e-6)

"""Every primitive gives MLX's numbers, for any shape and any view."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpeft.fused import Unsupported
from mlpeft.fused.graph import trace
from mlpeft.fused.primitives import COMPOSED, ELEMENTWISE
from mlpeft.fused.rules import KERNELS
from mlpeft.fused.simplify import simplified
from mlpeft.fused.views import VIEWS, Buffer, View
from tests.fused.ground import assert_like_mlx, natively, normal

FEW = settings(max_examples=3, derandomize=True, deadline=None)
"""Each example is compiled."""

shapes = st.lists(st.sampled_from([1, 2, 3, 17, 33]), min_size=2, max_size=3).map(tuple)
views = st.sampled_from(["whole", "transposed", "sliced", "reversed", "broadcast"])


def viewed(view, x):
    """Another way through the same numbers, of the same shape."""
    match view:
        case "transposed":
            return mx.swapaxes(mx.swapaxes(x, -1, -2) + 0.5, -1, -2)
        case "sliced":
            return mx.concatenate([x, x], axis=-1)[..., : x.shape[-1]]
        case "reversed":
            return x[..., ::-1]
        case "broadcast":
            return mx.broadcast_to(x[..., :1], x.shape)
    return x


def elementwise(x, y):
    """Of x any numbers, of y those around 0."""
    large, positive, near = x * 30.0, mx.abs(x) + 1e-3, mx.clip(y, -3, 3)
    kinds = (x > y).astype(mx.int32), (x * 3).astype(mx.int32)
    return (
        mx.abs(x), x + y, mx.ceil(large), mx.cos(x), mx.cosh(near), x / positive,
        x == y, mx.erf(x), mx.exp(near), mx.exp(-mx.abs(large)), mx.expm1(near),
        mx.floor(large), x > y, x >= y, x < y, x <= y, mx.log(positive),
        mx.log1p(positive), mx.log2(positive), mx.log10(positive), mx.logaddexp(x, y),
        mx.logical_and(x > 0, y > 0), mx.logical_not(x > 0), mx.maximum(x, y),
        mx.logical_or(x > 0, y > 0), mx.minimum(x, 0.0), x * y, -x, x != y,
        mx.power(positive, near), mx.where(x > y, x, y), mx.round(large),
        mx.sigmoid(large), mx.sign(x), mx.sin(x), mx.sinh(near), mx.sqrt(positive),
        mx.rsqrt(positive), mx.square(x), x - y, mx.tanh(large), mx.stop_gradient(x),
        kinds[0] + kinds[1], kinds[0] * kinds[1], kinds[0] == kinds[1],
        kinds[0].astype(mx.bool_), mx.grad(lambda a: mx.sum(mx.tanh(a) * y))(x),
    )  # fmt: skip


@FEW
@given(shapes, views, views)
def test_elements_are_mlxs(shape, first, second):
    x, y = normal(*shape, seed=1), normal(*shape, seed=2)
    assert_like_mlx(lambda x, y: elementwise(viewed(first, x), viewed(second, y)), x, y)


def test_the_table_has_no_line_that_no_test_computes():
    ours = {"Reciprocal", "TanhSlope"}
    named = set()
    x, y = normal(2, 3), normal(2, 3, seed=1)
    for function in (elementwise, indexed, reduced):
        named |= {node.primitive for node in trace(function, x, y).nodes}
    named |= {node.primitive for node in trace(mixed, x, y).nodes}
    images, kernels = normal(1, 5, 5, 2), normal(3, 3, 3, 2)
    named |= {node.primitive for node in trace(convolved, images, kernels).nodes}
    log_bases = {"Log2", "Log10"}
    assert set(ELEMENTWISE) - ours - log_bases <= named
    assert set(KERNELS) <= named
    assert set(COMPOSED) <= named
    assert (
        set(VIEWS) - {"Contiguous", "Copy", "Depends", "StopGradient", "Unflatten"}
        <= named
    )


def reduced(x, _):
    return (
        mx.sum(x), mx.sum(x, axis=0), mx.sum(x, axis=-1), mx.max(x, axis=0),
        mx.min(x, axis=-1), mx.prod(x, axis=-1), mx.all(x > -9.0, axis=0),
        mx.any(x > 1.0, axis=-1), mx.argmax(x, axis=-1), mx.argmin(x, axis=0),
        mx.logsumexp(x, axis=-1), mx.softmax(x, axis=-1), mx.softmax(x, axis=0),
        mx.var(x, axis=0), mx.linalg.norm(x), mx.mean(x, axis=(0, 1)),
    )  # fmt: skip


@FEW
@given(shapes, views)
def test_reductions_are_mlxs(shape, view):
    assert_like_mlx(lambda x: reduced(viewed(view, x), x), normal(*shape), rtol=2e-5)


def indexed(x, y):
    places = mx.array([1, 0, -1])
    picked = mx.argmax(x, axis=-1)
    return (
        x[places], mx.take(y, places, axis=1), x.at[places].add(y[0]), x[:, 1], y.T,
        mx.take_along_axis(x, picked[..., None], axis=-1), mx.pad(x, 1),
        mx.concatenate([x, y, x], axis=0), mx.split(x, [1], axis=0)[1], mx.eye(3),
        mx.grad(lambda a: mx.sum(mx.take_along_axis(a, picked[..., None], -1)))(x),
        mx.grad(lambda a: mx.sum(a[1:, ::2]))(x), mx.stack([x, y]), mx.tril(x),
        mx.as_strided(x + 1, (2, 2), (1, 2), 1), x.reshape(-1), x[None], mx.flatten(y),
        mx.addmm(x, y[:, :1], x[:1]), mx.zeros_like(x), mx.array(2.5), x,
    )  # fmt: skip


def test_what_moves_elements_is_mlxs():
    assert_like_mlx(indexed, normal(3, 5), normal(3, 5, seed=1))


def mixed(x, y):
    return (
        nn.gelu(x), nn.silu(y), nn.softplus(x), nn.elu(y),
        mx.fast.layer_norm(x, y[0], y[1], 1e-5),
        mx.grad(lambda a: mx.mean(nn.losses.cross_entropy(a, mx.array([1, 0]))))(x),
        x.T @ y,
    )  # fmt: skip


def test_layers_and_losses_are_mlxs():
    assert_like_mlx(mixed, normal(2, 3), normal(2, 3, seed=1))


sizes = st.sampled_from([1, 2, 5, 16, 23, 70])


@settings(max_examples=3, derandomize=True, deadline=None)
@given(sizes, sizes, sizes)
def test_products_of_any_layout_are_mlxs(m, n, k):
    a, b = normal(m, k), normal(k, n, seed=1)
    across, down = normal(k, m, seed=2), normal(n, k, seed=3)

    def products(a, b, across, down):
        return (
            a @ b, across.T @ b, a @ down.T, across.T @ down.T, (a @ b).T + 1.0,
            mx.stack([a, 2 * a]) @ b, mx.stack([across.T, a]) @ mx.stack([down.T, b]),
        )  # fmt: skip

    assert_like_mlx(products, a, b, across, down, atol=2e-5, rtol=2e-5)


def test_a_large_product_is_mlxs_with_and_without_a_blas(monkeypatch):
    a, b = normal(130, 128), normal(90, 128, seed=1)
    for address in (None, 0):
        if address is None:
            monkeypatch.setattr("mlpeft.fused.program.sgemm_address", lambda: None)
        else:
            monkeypatch.undo()
        assert_like_mlx(lambda a, b: (a @ b.T,), a, b, atol=1e-4, rtol=1e-4)


def convolved(images, kernels):
    def total(images, kernels):
        outputs = mx.conv2d(images, kernels, stride=2, padding=1)
        return mx.sum(outputs * mx.sin(outputs))

    same = mx.conv2d(images, kernels, padding=1)
    through = mx.grad(lambda a: mx.sum(mx.square(mx.conv2d(a, kernels))))(images)
    return same, through, *mx.grad(total, argnums=(0, 1))(images, kernels)


@pytest.mark.parametrize("size", [(5, 5), (6, 7)])
def test_convolutions_and_their_gradients_are_mlxs(size):
    images, kernels = normal(2, *size, 3), normal(4, 3, 3, 3, seed=1)
    assert_like_mlx(convolved, images, kernels, atol=1e-4, rtol=1e-4)


def test_numbers_that_are_none_go_through():
    x = mx.array([np.nan, np.inf, -np.inf, -0.0, 1e-41, 200.0, -200.0])

    def functions(x):
        both = mx.maximum(x, 0.0), mx.minimum(0.0, x)
        return *both, mx.exp(x), mx.log(x), mx.tanh(x), mx.sigmoid(x), mx.erf(x), x + 1

    assert_like_mlx(functions, x)


def test_an_unknown_primitive_is_named():
    with pytest.raises(Unsupported, match="the primitive Sort is not in its table"):
        natively(lambda x: (mx.sort(x),), normal(4))


def test_an_unknown_type_is_named():
    with pytest.raises(Unsupported, match="numbers of type bfloat16"):
        natively(lambda x: (x.astype(mx.bfloat16).astype(mx.float32),), normal(4))


def test_what_is_computed_twice_is_computed_once():
    graph = trace(lambda x: (mx.tanh(x) + mx.tanh(x), mx.stop_gradient(x)), normal(3))
    names = [node.primitive for node in simplified(graph).nodes]
    assert names == ["Tanh", "Add"]


def test_the_gradient_of_tanh_needs_no_hyperbolic_cosine():
    graph = trace(lambda x: (mx.grad(lambda a: mx.sum(mx.tanh(a)))(x),), normal(3))
    names = [node.primitive for node in simplified(graph).nodes]
    assert "Cosh" not in names
    assert "TanhSlope" in names


@given(shapes, shapes)
def test_a_reshaped_view_is_numpys_or_a_copy_is_asked_for(shape, other):
    array = np.arange(np.prod(shape)).reshape(shape)
    view = View.whole(Buffer(array.size, "int64"), shape)
    target = (*other[:1], array.size // other[0]) if array.size % other[0] == 0 else ()
    for source, mine in ((array, view), (array.swapaxes(0, 1), _swapped(view))):
        found = mine.reshaped(target) if target else None
        if found is None:
            continue
        strides = [8 * stride for stride in found.strides]
        seen = np.lib.stride_tricks.as_strided(array, found.shape, strides)
        np.testing.assert_array_equal(seen, source.reshape(target))


def _swapped(view):
    shape, strides = (
        (values[1], values[0], *values[2:]) for values in (view.shape, view.strides)
    )
    return View(view.buffer, shape, strides, view.offset)

"""Operations with gradients and vectorisation by hand, against plain formulations."""

from __future__ import annotations

import importlib

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mlpeft.fused.graph import trace
from mlpeft.models import ops
from mlpeft.models.ops.linear import Linear


def random(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return mx.array(rng.normal(size=shape).astype(np.float32))


def plain_conv(x, weight):
    pads = [(1, 1) if size % 2 else (0, 1) for size in x.shape[1:3]]
    return mx.conv2d(mx.pad(x, [(0, 0), *pads, (0, 0)]), weight, stride=2)


def plain_norm(x, gamma, beta):
    mean = mx.mean(x, axis=(0, 1, 2))
    var = mx.mean(mx.square(x - mean), axis=(0, 1, 2))
    return (x - mean) * mx.rsqrt(var + 1e-3) * gamma + beta


def plain_cross_entropy(logits, labels):
    log_p = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
    return -mx.mean(mx.take_along_axis(log_p, labels[:, None], axis=-1))


LABELS = mx.array([2, 0, 1, 1])

# Name: ours, the plain formulation, the arguments that have a gradient.
CASES = {
    "relu": (ops.relu, lambda x: mx.maximum(x, 0), [random(4, 3)]),
    "tanh": (ops.tanh, mx.tanh, [random(4, 3) * 3]),
    "gelu": (ops.gelu, nn.gelu, [random(4, 3) * 3]),
    "linear": (
        ops.linear,
        lambda x, w, b: x @ w.T + b,
        [random(4, 3), random(2, 3, seed=1), random(2, seed=2)],
    ),
    "cross entropy": (
        lambda x: ops.cross_entropy(x, LABELS),
        lambda x: plain_cross_entropy(x, LABELS),
        [random(4, 3)],
    ),
    "conv, even": (
        ops.conv3x3_stride2,
        plain_conv,
        [random(2, 6, 4, 3), random(5, 3, 3, 3, seed=1)],
    ),
    "conv, odd": (
        ops.conv3x3_stride2,
        plain_conv,
        [random(2, 7, 5, 3), random(5, 3, 3, 3, seed=1)],
    ),
    "conv, mixed": (
        ops.conv3x3_stride2,
        plain_conv,
        [random(1, 3, 2, 1), random(2, 3, 3, 1, seed=1)],
    ),
    "batch norm": (
        ops.batch_norm,
        plain_norm,
        [random(3, 2, 2, 4) * 2 + 1, random(4, seed=1), random(4, seed=2)],
    ),
    "batch norm, relu": (
        ops.batch_norm_relu,
        lambda *args: mx.maximum(plain_norm(*args), 0),
        [random(3, 2, 2, 4) * 2 + 1, random(4, seed=1), random(4, seed=2)],
    ),
}
DO_NOT_VMAP = {name for name in CASES if name.startswith("conv")}


def weighted(function):
    """A scalar that weighs every output differently."""

    def total(*args):
        out = function(*args)
        weights = mx.arange(1, out.size + 1).reshape(out.shape) / out.size
        return mx.sum(out * weights) + mx.sum(mx.square(out)) / 2

    return total


def gradients(function, args):
    grads = mx.grad(weighted(function), tuple(range(len(args))))(*args)
    return grads if isinstance(grads, (list, tuple)) else (grads,)


def assert_close(ours, plain):
    for mine, reference in zip(ours, plain, strict=True):
        assert mine.shape == reference.shape
        np.testing.assert_allclose(mine, reference, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_the_plain_formulation(case):
    ours, plain, args = CASES[case]
    assert_close([ours(*args)], [plain(*args)])
    assert_close(gradients(ours, args), gradients(plain, args))


@pytest.mark.parametrize("case", CASES)
def test_gradients_agree_with_finite_differences(case):
    """Along one random direction in all arguments at once."""
    ours, _, args = CASES[case]
    steps = [random(*arg.shape, seed=9 + at) for at, arg in enumerate(args)]
    slope = sum(
        mx.sum(grad * step).item()
        for grad, step in zip(gradients(ours, args), steps, strict=True)
    )
    size = 1e-3
    ends = [
        weighted(ours)(
            *[arg + sign * size * step for arg, step in zip(args, steps, strict=True)]
        ).item()
        for sign in (1, -1)
    ]
    assert slope == pytest.approx((ends[0] - ends[1]) / (2 * size), rel=2e-2, abs=2e-2)


@pytest.mark.parametrize("case", CASES)
def test_second_derivatives_are_those_of_the_plain_formulation(case):
    """The gradient of the squared gradient, as second-order MAML takes it."""
    ours, plain, args = CASES[case]

    def curvature(function):
        def total(*args):
            return sum(mx.sum(mx.square(g)) for g in gradients(function, args))

        grads = mx.grad(total, tuple(range(len(args))))(*args)
        return grads if isinstance(grads, (list, tuple)) else (grads,)

    for mine, reference in zip(curvature(ours), curvature(plain), strict=True):
        scale = mx.max(mx.abs(reference)).item() + 1.0
        np.testing.assert_allclose(mine, reference, rtol=1e-2, atol=2e-3 * scale)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("case", sorted(CASES.keys() - DO_NOT_VMAP))
def test_gradients_vmap_over_any_of_the_arguments(case, compiled):
    """Every subset of the arguments with a task axis, alone and compiled.

    But for a bias alone: `mx.addmm` does not vmap over its sum without a product that
    does. Tasks always differ in x.
    """
    ours, plain, args = CASES[case]
    stacks = [mx.stack([arg, arg * 0.5, arg - 0.3]) for arg in args]
    for subset in range(1, 2 ** len(args)):
        chosen = [bool(subset >> at & 1) for at in range(len(args))]
        if case == "linear" and chosen == [False, False, True]:
            continue
        axes = tuple(0 if use else None for use in chosen)
        mixed = [s if u else a for s, a, u in zip(stacks, args, chosen, strict=True)]

        def per_task(*args):
            return (ours(*args), *gradients(ours, args))

        vectorised = mx.vmap(per_task, in_axes=axes)
        results = (mx.compile(vectorised) if compiled else vectorised)(*mixed)
        for task in range(3):
            own = [
                s[task] if u else a
                for s, a, u in zip(stacks, args, chosen, strict=True)
            ]
            expected = (plain(*own), *gradients(plain, own))
            assert_close([result[task] for result in results], expected)


def test_a_task_axis_that_is_not_in_front_is_moved_there():
    x, weight, bias = random(4, 5, 3), random(2, 3, seed=1), random(2, seed=2)
    out = mx.vmap(ops.linear, in_axes=(1, None, None))(x, weight, bias)
    expected = x.swapaxes(0, 1) @ weight.T + bias
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


def test_tanh_is_right_everywhere():
    """Within 8 units in the last place, odd, at most 1, and NaN stays NaN."""
    x = np.concatenate([np.linspace(-20, 20, 20001), 10.0 ** np.linspace(-30, 1, 999)])
    x = x.astype(np.float32)
    ours = np.array(ops.tanh(mx.array(x)))
    exact = np.tanh(x.astype(np.float64))
    unit = np.spacing(np.abs(exact).astype(np.float32))
    assert np.max(np.abs(ours - exact) / unit) <= 8
    assert np.max(np.abs(ours)) <= 1
    np.testing.assert_array_equal(np.array(ops.tanh(mx.array(-x))), -ours)
    extremes = ops.tanh(mx.array([np.inf, -np.inf, np.nan], mx.float32)).tolist()
    assert extremes[:2] == pytest.approx([1, -1], rel=1e-6)
    assert np.isnan(extremes[2])


def test_a_linear_layers_weight_gradient_is_contiguous():
    """A transposed view would make every update after it a strided loop."""
    layer = Linear(3, 2)

    def loss(weight):
        return mx.sum(mx.square(ops.linear(random(4, 3), weight, layer.bias)))

    gradient = mx.grad(loss)(layer.weight)
    mx.eval(gradient)
    assert np.asarray(memoryview(gradient)).flags["C_CONTIGUOUS"]


def test_a_linear_layer_takes_inputs_of_more_axes():
    layer, x = Linear(3, 2), random(2, 4, 3)
    expected = x @ layer.weight.T + layer.bias
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-5)


def _gradient_of_cross_entropy():
    module = importlib.import_module("mlpeft.models.ops.cross_entropy")
    gradient = module._gradient.__wrapped__
    return lambda *arrays: (gradient(*arrays),), (
        random(7, 3),
        mx.arange(7) % 3,
        mx.array(1.0),
    )


def _batch_norm():
    module = importlib.import_module("mlpeft.models.ops.norm")
    return lambda *arrays: (module._batch_norm(*arrays),), (
        random(7, 3),
        random(3),
        random(3),
    )


def _gradient_of_batch_norm():
    module = importlib.import_module("mlpeft.models.ops.norm")
    return module._gradients, (random(7, 3), random(3), random(7, 3))


@pytest.mark.parametrize(
    "made", [_gradient_of_cross_entropy, _batch_norm, _gradient_of_batch_norm]
)
def test_the_kernels_of_an_operation_serve_any_number_of_examples(made):
    """MLX writes single numbers into compiled kernels and never unloads these."""
    function, arguments = made()
    graph = trace(function, *arguments)
    numbers = [array.item() for array in graph.constants.values() if array.size == 1]
    assert all(number != pytest.approx(1 / 7) for number in numbers)
    assert any(array == pytest.approx(1 / 7) for array in graph.constants.values())

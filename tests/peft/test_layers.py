"""The layers of the methods compute what their equations say, in sums done by hand."""

from __future__ import annotations

import math

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mlpeft.peft.bottleneck import BottleneckLinear
from mlpeft.peft.dora import DoRALinear
from mlpeft.peft.ia3 import IA3Linear
from mlpeft.peft.linear import sizes, weight
from mlpeft.peft.lora import LoRALinear
from tests.peft.models import peft


def linear(matrix, bias=None) -> nn.Linear:
    layer = nn.Linear(1, 1, bias=bias is not None)
    layer.weight = mx.array(matrix)
    if bias is not None:
        layer.bias = mx.array(bias)
    return layer


def test_lora_adds_a_low_rank_product_to_the_layer():
    """x = (1, 2), W = I, no bias, A = (1, 1)^T, B = (3, 4), scale 2: x + 2 * 3 * B."""
    linear = nn.Linear(2, 2, bias=False)
    linear.weight = mx.eye(2)
    layer = LoRALinear(linear, rank=1, scale=2.0)
    layer.lora_a, layer.lora_b = mx.array([[1.0], [1.0]]), mx.array([[3.0, 4.0]])
    x = mx.array([[1.0, 2.0]])
    np.testing.assert_allclose(layer(x), [[19.0, 26.0]])
    np.testing.assert_allclose(layer.merged()(x), [[19.0, 26.0]])


def test_dora_rotates_and_scales_the_rows():
    """W = [[3, 0], [0, 2]], A = (0, 2)^T, B = (1, 0), scale 2: V = [[3, 4], [0, 2]].

    |V| = (5, 2); m = (10, 4): W' = [[6, 8], [0, 4]]; x = (1, 1), b = (1, 0).
    """
    layer = DoRALinear(linear([[3.0, 0.0], [0.0, 2.0]], [1.0, 0.0]), rank=1, scale=2.0)
    np.testing.assert_allclose(layer.m, [3.0, 2.0])
    layer.lora_a, layer.lora_b = mx.array([[0.0], [2.0]]), mx.array([[1.0, 0.0]])
    layer.m = mx.array([10.0, 4.0])
    x = mx.array([[1.0, 1.0]])
    np.testing.assert_allclose(layer(x), [[15.0, 4.0]], rtol=1e-6)
    np.testing.assert_allclose(layer.merged()(x), [[15.0, 4.0]], rtol=1e-6)


def test_doras_norm_has_no_gradient():
    """With W = (3, 4), |V| = 5 held: dy/dB = m / 5 scale (x A) = 1 * 2 * 1 = 2."""
    layer = DoRALinear(linear([[3.0, 4.0]]), rank=1, scale=2.0)
    layer.lora_a = mx.array([[1.0], [0.0]])

    def output(b: mx.array) -> mx.array:
        layer.lora_b = b
        return layer(mx.array([[1.0, 0.0]])).sum()

    np.testing.assert_allclose(mx.grad(output)(mx.array([[0.0]])), [[2.0]])


@pytest.mark.parametrize(
    ("keys", "factor"),
    [
        ({"scale": 3.0}, 3.0),
        ({"alpha": 16.0, "rank": 4}, 4.0),
        ({"alpha": 16.0, "rank": 4, "scale": 9.0}, 4.0),
        ({"alpha": 16.0, "rank": 4, "rslora": True}, 8.0),
        ({"alpha": 6.0, "rank": 3, "rslora": True}, 6.0 / math.sqrt(3.0)),
    ],
)
def test_the_factor_is_scale_or_alpha_by_rank_or_its_root(keys, factor):
    assert peft(method="lora", **keys).factor == pytest.approx(factor)


def test_ia3_scales_outputs():
    """W = [[1, 2], [0, 1]], b = (1, 0), x = (1, 1): h = (4, 1); l = (2, 3)."""
    layer = IA3Linear(linear([[1.0, 2.0], [0.0, 1.0]], [1.0, 0.0]), feedforward=False)
    layer.ia3_l = mx.array([2.0, 3.0])
    x = mx.array([[1.0, 1.0]])
    np.testing.assert_allclose(layer(x), [[8.0, 3.0]])
    np.testing.assert_allclose(layer.merged()(x), [[8.0, 3.0]])


def test_ia3_scales_the_inputs_of_feedforward_layers():
    """W = [[1, 2], [0, 1]], b = (1, 0), x = (1, 1), l = (2, 3): l x = (2, 3)."""
    layer = IA3Linear(linear([[1.0, 2.0], [0.0, 1.0]], [1.0, 0.0]), feedforward=True)
    layer.ia3_l = mx.array([2.0, 3.0])
    x = mx.array([[1.0, 1.0]])
    np.testing.assert_allclose(layer(x), [[9.0, 3.0]])
    np.testing.assert_allclose(layer.merged()(x), [[9.0, 3.0]])


def test_a_bottleneck_is_added_to_the_layers_output():
    """h = x = (1, 2); D = (1, 1)^T, d = -1: relu(3 - 1) = 2; U = (3, 4), u = (1, 0)."""
    layer = BottleneckLinear(linear([[1.0, 0.0], [0.0, 1.0]]), rank=1)
    layer.down, layer.down_bias = mx.array([[1.0], [1.0]]), mx.array([-1.0])
    layer.up, layer.up_bias = mx.array([[3.0, 4.0]]), mx.array([1.0, 0.0])
    np.testing.assert_allclose(layer(mx.array([[1.0, 2.0]])), [[8.0, 10.0]])


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_quantised_layer_has_the_sizes_of_the_layer_that_it_was(bits):
    layer = nn.Linear(64, 32).to_quantized(group_size=32, bits=bits)
    assert sizes(layer) == (32, 64)
    assert weight(layer).shape == (32, 64)


def test_a_half_precision_base_keeps_its_type():
    layer = linear([[1.0, 0.0], [0.0, 1.0]])
    layer.set_dtype(mx.float16)
    adapted = LoRALinear(layer, rank=1)
    assert adapted.lora_a.dtype == mx.float32
    assert adapted(mx.ones((1, 2), dtype=mx.float16)).dtype == mx.float16
    assert adapted.merged().weight.dtype == mx.float16

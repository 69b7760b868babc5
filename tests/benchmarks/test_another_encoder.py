"""An ONNX file's weights get the names and shapes that our encoder reads."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("mlx.core")
another = pytest.importorskip("benchmarks.another_encoder")

PREFIX = another.PREFIX


def model(leaves, products):
    """A graph of products with the leaves that they name."""
    helper = onnx.helper
    nodes = [
        helper.make_node("MatMul", ["x", leaf], [f"y{i}"], name=name)
        for i, (name, leaf) in enumerate(products.items())
    ]
    stored = [onnx.numpy_helper.from_array(leaf, name) for name, leaf in leaves.items()]
    return helper.make_model(helper.make_graph(nodes, "encoder", [], [], stored))


def test_a_product_gives_its_weight_a_name_and_is_transposed():
    product = np.arange(6, dtype=np.float32).reshape(2, 3)
    leaves = {
        f"{PREFIX}encoder.layer.0.intermediate.dense.bias": np.ones(3, np.float32),
        "onnx::MatMul_7": product,
    }
    path = "/model/model.0/auto_model/encoder/layer.0/intermediate/dense/MatMul"
    weights = another.encoder_weights(model(leaves, {path: "onnx::MatMul_7"}))
    assert sorted(weights) == [
        "encoder.layer.0.intermediate.dense.bias",
        "encoder.layer.0.intermediate.dense.weight",
    ]
    found = weights["encoder.layer.0.intermediate.dense.weight"]
    np.testing.assert_array_equal(found, product.T)


def test_sizes_are_those_of_the_weights():
    sizes = another.config_of(
        {
            "embeddings.word_embeddings.weight": np.zeros((50, 24)),
            "embeddings.position_embeddings.weight": np.zeros((16, 24)),
            "encoder.layer.0.intermediate.dense.bias": np.zeros(96),
            "encoder.layer.1.intermediate.dense.bias": np.zeros(96),
        }
    )
    assert sizes["vocab_size"] == 50
    assert sizes["hidden_size"] == 24
    assert sizes["num_hidden_layers"] == 2
    assert sizes["intermediate_size"] == 96
    assert sizes["max_position_embeddings"] == 16

"""A sentence classifier as an ONNX graph: encoder, pooling, unit vectors, head.

Operators of opset 17, which onnxruntime knows from 1.12 on and fuses itself. Weights
have the names of the module's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from mlpeft.models.pretrained.layer_pooling import LOWER_WEIGHT, lower_layers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import ModelProto, NodeProto

    from mlpeft.adapters.embedder import Head
    from mlpeft.models.pretrained.encoder import EncoderConfig
    from mlpeft.models.pretrained.pooling import Pooling

OPSET: Final = 17
IR_VERSION: Final = 8
HEAD_NODE: Final = "head"
NGRAMS_INPUT: Final = "ngrams"
_FAR: Final = -1e9
"""Added to the scores of padding."""


@dataclass(slots=True)
class _Graph:
    """Nodes and weights so far."""

    nodes: list[NodeProto] = field(default_factory=list)
    weights: dict[str, np.ndarray] = field(default_factory=dict)

    def __call__(self, op: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add an operator; the name of its output."""
        output = name or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(op, list(inputs), [output], name=output, **attributes)
        )
        return output

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """The name of a constant, of which equal ones are one."""
        array = np.asarray(value, dtype)
        name = f"constant_{array.dtype}_{array.tolist()}".replace(" ", "")
        self.weights.setdefault(name, array)
        return name

    def weight(self, name: str, value: np.ndarray) -> str:
        """Add a weight."""
        self.weights[name] = np.ascontiguousarray(value, np.float32)
        return name


class ClassifierGraph:
    """Builds the graph of a classifier.

    Args:
        config: Sizes of the encoder.
        pooling: Of the tokens.
        leaves: The merged encoder's, by our names, NumPy; `projection.*` if there is
            one.
        layers: Whether embeddings are of several layers.
    """

    def __init__(
        self,
        config: EncoderConfig,
        pooling: Pooling,
        leaves: Mapping[str, np.ndarray],
        *,
        layers: bool = False,
    ) -> None:
        self._config = config
        self._lower = lower_layers(config.num_hidden_layers) if layers else ()
        self._pooling = pooling
        self._leaves = leaves
        self._graph = _Graph()

    def model(
        self, head: Head | None, *, multi_label: bool, ngrams: int = 0
    ) -> ModelProto:
        """The model: `input_ids`, `attention_mask` -> `embeddings` and more.

        Args:
            head: It adds `logits` and `probabilities`; None: it has embeddings alone.
            multi_label: Whether each label has a probability of its own.
            ngrams: Columns of the head, the last ones, that see one more input,
                `ngrams`.
        """
        g = self._graph
        present = g("Cast", "attention_mask", to=TensorProto.FLOAT)
        hidden = self._embed_tokens()
        mask = self._scores_mask(present)
        lower = []
        for number in range(self._config.num_hidden_layers):
            if number in self._lower:
                vector = self._unit(self._pool(hidden, present), f"pooled_{number}")
                lower.append(g("Mul", vector, g.constant(LOWER_WEIGHT)))
            hidden = self._layer(hidden, mask, f"encoder.layers.{number}.")
        pooled = self._unit(self._pool(hidden, present), "pooled")
        if lower:
            pooled = self._unit(g("Concat", pooled, *lower, axis=1), "layers")
        if "projection.weight" in self._leaves:
            projected = self._linear(pooled, "projection.")
            pooled = self._unit(projected, "projected")
        g("Identity", pooled, name="embeddings")
        size = self._config.hidden_size * (1 + len(lower))
        outputs = {"embeddings": size}
        if head is not None:
            weight = g.weight("head.weight", head.scale * head.weight.T)
            seen = "embeddings"
            if ngrams:
                seen = g("Concat", seen, NGRAMS_INPUT, axis=1)
            logits = g("MatMul", seen, weight, name=HEAD_NODE)
            g("Add", logits, g.weight("head.bias", head.bias), name="logits")
            if multi_label:
                g("Sigmoid", "logits", name="probabilities")
            else:
                g("Softmax", "logits", name="probabilities", axis=-1)
            outputs |= dict.fromkeys(("logits", "probabilities"), len(head.bias))
        return self._finished(outputs, ngrams)

    def _finished(self, outputs: Mapping[str, int], ngrams: int) -> ModelProto:
        def value(name: str, kind: int, *shape: Any) -> Any:
            return helper.make_tensor_value_info(name, kind, list(shape))

        inputs = [
            value(name, TensorProto.INT64, "batch", "tokens")
            for name in ("input_ids", "attention_mask")
        ]
        if ngrams:
            inputs.append(value(NGRAMS_INPUT, TensorProto.FLOAT, "batch", ngrams))
        graph = helper.make_graph(
            self._graph.nodes,
            "sentence_classifier",
            inputs,
            [
                value(name, TensorProto.FLOAT, "batch", size)
                for name, size in outputs.items()
            ],
            [
                numpy_helper.from_array(array, name)
                for name, array in self._graph.weights.items()
            ],
        )
        return helper.make_model(
            graph,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="mlpeft",
        )

    def _embed_tokens(self) -> str:
        """Sum of word, position and type embeddings, normalised: (n, length, size)."""
        g, prefix = self._graph, "encoder.embeddings."
        words = g(
            "Gather",
            g.weight(f"{prefix}word.weight", self._leaves[f"{prefix}word.weight"]),
            "input_ids",
        )
        # All tokens are of the first type.
        table = self._leaves[f"{prefix}position.weight"]
        table = table + self._leaves[f"{prefix}token_type.weight"][0]
        length = g("Shape", "input_ids", start=1, end=2)
        zero, axis = g.constant([0], np.int64), g.constant([0], np.int64)
        positions = g(
            "Slice", g.weight(f"{prefix}position.weight", table), zero, length, axis
        )
        return self._norm(g("Add", words, positions), f"{prefix}norm.")

    def _scores_mask(self, present: str) -> str:
        """(n, 1, 1, length): what is added to the scores of attention."""
        g = self._graph
        absent = g("Sub", g.constant(1.0), present)
        far = g("Mul", absent, g.constant(_FAR))
        return g("Unsqueeze", far, g.constant([1, 2], np.int64))

    def _layer(self, x: str, mask: str, prefix: str) -> str:
        g = self._graph
        attended = self._attention(x, mask, f"{prefix}attention.")
        x = self._norm(g("Add", x, attended), f"{prefix}attention_norm.")
        inner = self._gelu(self._linear(x, f"{prefix}intermediate."))
        outer = self._linear(inner, f"{prefix}output.")
        return self._norm(g("Add", x, outer), f"{prefix}output_norm.")

    def _attention(self, x: str, mask: str, prefix: str) -> str:
        g, heads = self._graph, self._config.num_attention_heads
        size = self._config.hidden_size // heads

        def split(name: str, order: list[int]) -> str:
            shape = g.constant([0, 0, heads, size], np.int64)
            rows = g("Reshape", self._linear(x, f"{prefix}{name}."), shape)
            return g("Transpose", rows, perm=order)

        queries = split("query", [0, 2, 1, 3])
        keys = split("key", [0, 2, 3, 1])
        values = split("value", [0, 2, 1, 3])
        scores = g("MatMul", queries, keys)
        scores = g("Div", scores, g.constant(math.sqrt(size)))
        shares = g("Softmax", g("Add", scores, mask), axis=-1)
        joined = g("Transpose", g("MatMul", shares, values), perm=[0, 2, 1, 3])
        shape = g.constant([0, 0, self._config.hidden_size], np.int64)
        return self._linear(g("Reshape", joined, shape), f"{prefix}output.")

    def _linear(self, x: str, prefix: str) -> str:
        g = self._graph
        weight = g.weight(f"{prefix}weight", self._leaves[f"{prefix}weight"].T)
        bias = g.weight(f"{prefix}bias", self._leaves[f"{prefix}bias"])
        return g("Add", g("MatMul", x, weight), bias)

    def _norm(self, x: str, prefix: str) -> str:
        g = self._graph
        weights = [
            g.weight(f"{prefix}{name}", self._leaves[f"{prefix}{name}"])
            for name in ("weight", "bias")
        ]
        epsilon = self._config.layer_norm_eps
        return g("LayerNormalization", x, *weights, axis=-1, epsilon=epsilon)

    def _gelu(self, x: str) -> str:
        """`x / 2 (1 + erf(x / sqrt 2))`."""
        g = self._graph
        erf = g("Erf", g("Div", x, g.constant(math.sqrt(2.0))))
        both = g("Mul", x, g("Add", erf, g.constant(1.0)))
        return g("Mul", both, g.constant(0.5))

    def _pool(self, hidden: str, present: str) -> str:
        g = self._graph
        if self._pooling == "cls":
            return g("Gather", hidden, g.constant(0, np.int64), axis=1)
        weight = g("Unsqueeze", present, g.constant([2], np.int64))
        tokens = g.constant([1], np.int64)
        total = g("ReduceSum", g("Mul", hidden, weight), tokens, keepdims=0)
        count = g("ReduceSum", weight, tokens, keepdims=0)
        return g("Div", total, g("Max", count, g.constant(1.0)))

    def _unit(self, x: str, name: str) -> str:
        g = self._graph
        square = g("ReduceSum", g("Mul", x, x), g.constant([-1], np.int64), keepdims=1)
        norm = g("Sqrt", g("Max", square, g.constant(1e-24)))
        return g("Div", x, norm, name=name)

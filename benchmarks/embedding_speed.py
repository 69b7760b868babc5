"""Texts a second of one core, and the time for one: what is faster, and what the floor.

All embed the same texts in turn, so that a busy machine slows all. Times are of the
processor; of one text also by the clock.

    python -m benchmarks.embedding_speed

eager     activations and softmax one operation after the other
fused     each in one pass
columns   and weights as products of a few tokens read them: what TextClassifier does
products  the matrix products of the encoder alone, nothing else: the floor
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from mlpeft import TextClassifier

# isort: split
import mlx.core as mx
import mlx.nn as nn
import numpy as np

from benchmarks.full_way import read
from mlpeft.models.ops import gelu
from mlpeft.models.pretrained.encoder import lay_out_for_products

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = ("eager", "fused", "columns", "products")


class Products:
    """In place of a model: its matrix products alone, of inputs of the same sizes."""

    def __init__(self, model: Any) -> None:
        self.dims = model.dims
        self.weights = [layer.weight for layer in linear_layers(model)]

    def embed(self, tokens: mx.array) -> mx.array:
        """The products; the vectors are zeros."""
        inputs = {w.shape[1]: mx.ones((tokens.size, w.shape[1])) for w in self.weights}
        mx.eval([inputs[w.shape[1]] @ w.T for w in self.weights])
        return mx.zeros((len(tokens), self.dims))


def linear_layers(model: Any) -> list[nn.Linear]:
    """Those of an encoder's layers."""
    modules = (module for layer in model.encoder.layers for module in layer.modules())
    return [module for module in modules if type(module) is nn.Linear]


def take(embed: Any, model: Any, kind: str) -> None:
    """Let texts be embedded in one of the ways."""
    embed._model = model  # noqa: SLF001 - what is compared
    model.encoder.without_gradients()
    for layer in model.encoder.layers:
        lay_out_for_products(layer)
        if kind == "eager":
            layer.activate = gelu
            layer.attention.forward_only = False
    if kind in ("eager", "fused"):
        for linear in linear_layers(model):
            linear.weight = mx.contiguous(linear.weight)
    mx.eval(model.parameters())
    if kind == "products":
        embed._model = Products(model)  # noqa: SLF001


def seconds(run: Callable[[], object]) -> tuple[float, float]:
    """Of the processor, and by the clock."""
    cpu, clock = time.process_time(), time.perf_counter()
    run()
    return time.process_time() - cpu, time.perf_counter() - clock


def main() -> None:
    """Print a row for each kind of text, and a column for each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    fitted = TextClassifier.fit(["a b", "c d"], ["a", "b"], start="none")
    embed = fitted.adapter_.embed
    model = embed._model  # noqa: SLF001
    texts = {
        name: read(name, "test")[0][: args.texts] for name in ("banking77", "clinc150")
    }
    rates: dict[tuple[str, str], list[float]] = {}
    single: dict[str, list[tuple[float, float]]] = {}
    for _ in range(args.rounds):
        for kind in KINDS:
            take(embed, model, kind)
            embed(["warm up"])
            for name, given in texts.items():
                took = seconds(lambda given=given: embed(given))[0]
                rates.setdefault((name, kind), []).append(len(given) / took)
            ones = texts["banking77"][:20]
            single.setdefault(kind, []).extend(
                seconds(lambda text=text: fitted.predict([text])) for text in ones
            )
    print("| | " + " | ".join(KINDS) + " |")
    print("| --- " * (len(KINDS) + 1) + "|")
    for name in texts:
        best = [max(rates[name, kind]) for kind in KINDS]
        print(f"| {name}, texts/s | " + " | ".join(f"{v:.0f}" for v in best) + " |")
    for place, what in enumerate(("processor", "clock")):
        ms = [1000 * np.median(single[kind], axis=0)[place] for kind in KINDS]
        print(f"| one text, {what}, ms | " + " | ".join(f"{v:.1f}" for v in ms) + " |")


if __name__ == "__main__":
    main()

"""`lora.py`'s step in mlpeft, for `step_server.py`."""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

# Before mlx.core: mlpeft loads a BLAS that MLX then uses.
from mlpeft import cross_entropy_loss

# isort: split
import mlx.core as mx
import numpy as np

from benchmarks.step_server import serve
from mlpeft.config import PeftSection
from mlpeft.meta.functional import Functional, get_params
from mlpeft.meta.inner import InnerLoop, batch_gradients
from mlpeft.models.pretrained.encoder_weights import read_encoder
from mlpeft.models.pretrained.sentence_classifier import SentenceClassifier
from mlpeft.peft.wrap import wrap
from mlpeft.platform import set_blas_threads

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.step_server import Step

SHAPES = [(384, 384)] * 4 + [(384, 1536), (1536, 384)]
"""Inputs and outputs of the linear layers in one of MiniLM's."""


def main() -> None:
    """Serve the compiled inner step of SGD on adapter and head."""
    given = json.loads(sys.argv[1])
    set_blas_threads(given["threads"])
    encoder = read_encoder(given["model"])
    model = SentenceClassifier(encoder, encoder.config.hidden_size, given["classes"])
    wrap(model, PeftSection(method="lora", num_layers=given["layers"]))
    functional = Functional(model, cross_entropy_loss)
    # Without its `prepare` the model takes padded tokens through all layers.
    functional.prepares = given["packed"]
    inner = InnerLoop(lr=1e-3)
    theta = get_params(model)

    def make_step(file: str) -> Step:
        with np.load(file) as episode:
            x = functional.prepare(episode["tokens"])
            y = mx.array(episode["labels"])
        with functional.installed():
            params = theta | functional.episode_leaves(theta, x, y)

        @mx.compile
        def compiled(
            params: dict[str, mx.array],
        ) -> tuple[dict[str, mx.array], mx.array]:
            with functional.installed():
                loss, grads = batch_gradients(functional, inner, params, x, y)
            return inner.make_optimizer().step(params, grads, {})[0], loss

        def step() -> float:
            adapted, loss = compiled(params)
            mx.eval(adapted, loss)
            return float(loss.item())

        return step

    serve(make_step, partial(product_speed, SHAPES))


def product_speed(shapes: Iterable[tuple[int, int]], tokens: int) -> float:
    """Floating point operations a second of the products of linear layers.

    Args:
        shapes: Their inputs and outputs.
        tokens: Rows of the products.
    """
    pairs = [
        (mx.random.normal((tokens, m)), mx.random.normal((m, n))) for m, n in shapes
    ]
    mx.eval(pairs)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        mx.eval([a @ b for a, b in pairs])
        best = min(best, time.perf_counter() - start)
    return sum(2.0 * tokens * m * n for m, n in shapes) / best


if __name__ == "__main__":
    main()

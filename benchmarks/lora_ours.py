"""`lora.py`'s step in mlpeft: one JSON line of milliseconds, MB and GEMM speed."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import mlx.core as mx
import numpy as np

import mlpeft  # noqa: F401 - before mlx.core: it loads a BLAS
from benchmarks.lora import peak_mb, timed
from mlpeft.config import PeftSection
from mlpeft.meta.functional import Functional, get_params
from mlpeft.meta.inner import InnerLoop, grad_step
from mlpeft.models.encoder import read_encoder
from mlpeft.models.losses import cross_entropy_loss
from mlpeft.models.sentence_classifier import SentenceClassifier
from mlpeft.peft.wrap import wrap
from mlpeft.platform import set_blas_threads


def main() -> None:
    """Time one compiled inner step."""
    given = json.loads(sys.argv[1])
    set_blas_threads(given["threads"])
    encoder = read_encoder(given["model"])
    model = SentenceClassifier(encoder, encoder.config.hidden_size, 5)
    wrap(model, PeftSection(method="lora", num_layers=given["layers"]))
    functional = Functional(model, cross_entropy_loss)
    inner = InnerLoop(lr=1e-3)
    with np.load(given["file"]) as episode:
        x = functional.prepare(episode["tokens"])
        y = mx.array(episode["labels"])
    theta = get_params(model)
    with functional.installed():
        params = theta | functional.episode_leaves(theta, x, y)

    @mx.compile
    def step(params: dict[str, mx.array]) -> dict[str, mx.array]:
        with functional.installed():
            return grad_step(functional, inner, params, {}, x, y)[0]

    print(
        json.dumps(
            {
                "ms": timed(lambda: mx.eval(step(params)), given["steps"]),
                "mb": peak_mb(),
                "flops_s": _gemm_speed(),
            }
        )
    )


def _gemm_speed() -> float:
    """Floating point operations a second of a product of the model's size."""
    a, b = mx.random.normal((512, 384)), mx.random.normal((384, 1536))
    mx.eval(a, b)
    best = float("inf")
    for _ in range(30):
        start = time.perf_counter()
        mx.eval(a @ b)
        best = min(best, time.perf_counter() - start)
    return 2.0 * 512 * 384 * 1536 / best


if __name__ == "__main__":
    main()

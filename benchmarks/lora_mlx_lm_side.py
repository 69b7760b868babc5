"""Either side of `lora_mlx_lm.py`, for `step_server.py`.

Both read the model with mlpeft, as mlx-lm's module and with the BLAS that mlpeft lends
MLX, so that they differ in the step alone.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

# Before mlx.core: mlpeft loads a BLAS that MLX then uses.
from mlpeft import cross_entropy_loss

# isort: split
import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.optimizers import Adam
from mlx_lm.tuner.trainer import default_loss
from mlx_lm.tuner.utils import linear_to_lora_layers

from benchmarks.base_dtype import SMOLLM2
from benchmarks.lora_mlx_lm import DIMS, SHAPES, VOCABULARY
from benchmarks.lora_ours import product_speed
from benchmarks.step_server import serve
from mlpeft.config import PeftSection
from mlpeft.meta.functional import Functional, get_params, set_params
from mlpeft.meta.inner import InnerLoop, inner_loop, last
from mlpeft.meta.support import PreparedSupport, SupportPlan
from mlpeft.models.losses import IGNORED
from mlpeft.models.pretrained.causal_lm import read_causal_lm
from mlpeft.peft.wrap import wrap
from mlpeft.platform import set_blas_threads

if TYPE_CHECKING:
    from benchmarks.step_server import Step
    from mlpeft.params import MlxTree, ParamTree

LR, BETAS = 1e-3, (0.9, 0.999)
RANK, SCALE = 8, 2.0
KEYS = ("self_attn.q_proj", "self_attn.v_proj")


def main() -> None:
    """Serve one side's compiled step of Adam."""
    given = json.loads(sys.argv[1])
    set_blas_threads(given["threads"])
    model = read_causal_lm(SMOLLM2)
    make_step = {"ours": our_step, "mlx-lm": mlx_lm_step}[given["side"]]
    mx.clear_cache()
    mx.reset_peak_memory()  # reading has a peak of its own
    serve(
        partial(make_step, model, given["layers"]),
        partial(product_speed, [*SHAPES, (DIMS, VOCABULARY)]),
        peak=lambda: mx.get_peak_memory() / 1e6,
    )


def our_step(model: nn.Module, layers: int, file: str) -> Step:
    """A compiled inner loop of one step; the next starts where it ended."""
    section = PeftSection(
        method="lora", rank=RANK, scale=SCALE, keys=list(KEYS), num_layers=layers
    )
    wrap(model, section)
    set_params(model, start(model))
    functional = Functional(model, cross_entropy_loss)
    beta1, beta2 = BETAS
    inner = InnerLoop(
        lr=LR, num_steps=1, optimizer="adam", beta1=beta1, beta2=beta2, grad_clip=None
    )
    with np.load(file) as batch:
        x, labels = batch["tokens"][:, :-1], batch["tokens"][:, 1:].copy()
        labels[:, : int(batch["prompt"])] = IGNORED
    support = PreparedSupport.of(SupportPlan(x, labels), functional.prepare)

    @mx.compile
    def compiled(
        params: MlxTree, state: ParamTree, support: PreparedSupport
    ) -> tuple[MlxTree, ParamTree, mx.array]:
        with functional.installed():
            end = last(inner_loop(functional, inner, params, state, support))
        return end.params, end.state, end.loss

    params = get_params(model)
    state = inner.make_optimizer().init(params) | {"step": mx.array(0.0)}
    mx.eval(params, state, support)

    def step() -> float:
        nonlocal params, state
        params, state, loss = compiled(params, state, support)
        mx.eval(params, state, loss)
        return float(loss.item())

    return step


def mlx_lm_step(model: nn.Module, layers: int, file: str) -> Step:
    """The step of `mlx_lm.tuner.trainer.train`, without accumulation of gradients.

    The function is inside of `train`; its parts are mlx-lm's and MLX's.
    """
    model.freeze()
    settings: dict[str, Any] = {"rank": RANK, "scale": SCALE, "dropout": 0.0}
    linear_to_lora_layers(model, layers, settings | {"keys": set(KEYS)})
    set_params(model, start(model))
    with np.load(file) as batch:
        tokens, prompt = mx.array(batch["tokens"]), int(batch["prompt"])
    # Targets are counted from 1, and both ends have a loss.
    count, length = tokens.shape
    lengths = mx.array([[prompt + 1, length]] * count)
    optimizer = Adam(LR, betas=list(BETAS), bias_correction=True)
    optimizer.init(model.trainable_parameters())
    gradient = nn.value_and_grad(model, default_loss)
    state = [model.state, optimizer.state, mx.random.state]

    @partial(mx.compile, inputs=state, outputs=state)
    def compiled(tokens: mx.array, lengths: mx.array) -> mx.array:
        (loss, _), grads = gradient(model, tokens, lengths)
        optimizer.update(model, grads)
        return loss

    model.train()

    def step() -> float:
        loss = compiled(tokens, lengths)
        mx.eval(state, loss)
        return float(loss.item())

    return step


def start(model: nn.Module) -> MlxTree:
    """Leaves that do not depend on the side; no gradient is zero, as B's zeros make."""
    rng = np.random.default_rng(1)
    return {
        name: mx.array(rng.normal(0.0, 0.02, leaf.shape).astype(np.float32))
        for name, leaf in get_params(model).items()
    }


if __name__ == "__main__":
    main()

"""Inner steps on all examples: adapts the encoder before a head is fitted.

With many labels, or many examples of each, LoRA in the encoder may gain what no head
can; with few it costs minutes for nothing. So `tuned_if_better` asks the examples: on
one division of them it compares heads on held-out examples, with inner steps and
without.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import mlx.core as mx
import numpy as np

from mlpeft.adapters.adapt import inner_steps
from mlpeft.adapters.adapter import TextTokenizer, bare_model
from mlpeft.adapters.support import Support
from mlpeft.heads.auto import fit_head
from mlpeft.heads.linear import softmax
from mlpeft.meta.functional import get_params
from mlpeft.meta.inner import InnerLoop
from mlpeft.platform import set_blas_threads

if TYPE_CHECKING:
    from mlpeft.adapters.classifier import Classifier
    from mlpeft.adapters.label_examples import TextExamples
    from mlpeft.config import RunConfig
    from mlpeft.heads.examples import Examples

EPOCHS: Final = 10
BATCH: Final = 32
LR: Final = 5e-4
SCALE: Final = 10.0
"""Inverse temperature of the head that learns along."""
LORA: Final = {
    "method": "lora",
    "rank": 8,
    "keys": ["query", "key", "value", "attention.output", "intermediate", "output"],
}
"""What adapts where a start has nothing that does."""
LIMIT_S: Final = 60.0
"""Longest time that `tuned_if_better` may take, in seconds."""
_TRIAL_STEPS: Final = 2


class Choice(NamedTuple):
    """What `tuned_if_better` chose, and why.

    Attributes:
        adapter: With inner steps, or as it was.
        steps: That it took.
        reason: A sentence.
    """

    adapter: Classifier
    steps: int
    reason: str


def steps_for(examples: int) -> int:
    """Inner steps that see each example `EPOCHS` times."""
    return max(EPOCHS * examples // BATCH, EPOCHS)


def tuned(adapter: Classifier, given: TextExamples, steps: int) -> Classifier:
    """The adapter after inner steps on examples of one label each.

    Adam adapts LoRA and a head that starts from the class means; the head is dropped.

    Args:
        adapter: Without a head.
        given: The examples.
        steps: How many.
    """
    config = _config(adapter, given.targets.shape[1])
    set_blas_threads(config.compute.threads)
    model = bare_model(config)
    start = dict(adapter.leaves)
    if not start:
        start = {
            name: np.asarray(leaf)
            for name, leaf in get_params(model).items()
            if not name.startswith("head.")
        }
    inner = InnerLoop(
        lr=LR,
        num_steps=steps,
        optimizer="adam",
        beta1=0.9,
        beta2=0.999,
        batch_size=BATCH,
        grad_clip=1.0,
    )
    y = given.targets.argmax(axis=1).astype(np.int32)
    support = Support(config, TextTokenizer(config)(given.texts), y)
    theta = {name: mx.array(leaf) for name, leaf in start.items()}
    leaves, _ = inner_steps(model, inner, theta, {}, support)
    return replace(
        adapter,
        config=config.with_changes(model={"logit_scale": 1.0}),
        leaves={k: v for k, v in leaves.items() if not k.startswith("head.")},
        history=adapter.history | {"steps": steps, "inner_lr": LR},
        _model=None,
        _merged=None,
        _embedder=None,
    )


def tuned_if_better(
    adapter: Classifier, given: TextExamples, frozen: Examples
) -> Choice:
    """The adapter with inner steps, if they pay on held-out examples, in time.

    They pay if the cross-entropy of a fifth of the examples falls by more than its
    standard error. A few steps tell beforehand whether `LIMIT_S` suffices.

    Args:
        adapter: Without a head.
        given: The examples.
        frozen: The same, embedded without inner steps.
    """
    division = next(iter(frozen.folds()), None)
    if division is None:
        return Choice(adapter, 0, "too few examples to hold any out")
    fitted, held = division
    steps = steps_for(len(given.texts))
    kept = given.some(fitted)
    needed = 2 * steps * _seconds_a_step(adapter, kept)
    if needed >= LIMIT_S:
        return Choice(
            adapter,
            0,
            f"inner steps would take {needed:.0f} s, more than {LIMIT_S:.0f}",
        )
    trial = tuned(adapter, kept, steps_for(len(kept.texts)))
    losses = [
        _losses(frozen[fitted], frozen[held]),
        _losses(kept.embedded(trial.embed), given.some(held).embedded(trial.embed)),
    ]
    gain = losses[0] - losses[1]
    error = float(gain.std(ddof=1) / np.sqrt(len(gain))) if len(gain) > 1 else np.inf
    told = f"held-out loss {losses[0].mean():.3f} without, {losses[1].mean():.3f} with"
    if gain.mean() <= error:
        return Choice(adapter, 0, told)
    return Choice(tuned(adapter, given, steps), steps, told)


def with_inner_steps(
    adapter: Classifier, given: TextExamples, frozen: Examples, steps: int | str
) -> tuple[Classifier, Examples]:
    """The adapter after inner steps, and the examples under it.

    Args:
        adapter: Without a head.
        given: The examples.
        frozen: The same, embedded without inner steps.
        steps: A number, or "auto": `tuned_if_better` decides.
    """
    if isinstance(steps, str):
        choice = tuned_if_better(adapter, given, frozen)
    else:
        choice = Choice(tuned(adapter, given, steps), steps, "asked for")
    found = choice.adapter
    history = {"tuning": choice.reason} | ({} if choice.steps else {"steps": 0})
    found = replace(found, history=found.history | history)
    return found, given.embedded(found.embed) if choice.steps else frozen


def _seconds_a_step(adapter: Classifier, given: TextExamples) -> float:
    """By the clock, without what is done once: loading, compiling, tokenising."""
    tuned(adapter, given, 1)
    took = []
    for steps in (1, 1 + _TRIAL_STEPS):
        began = time.perf_counter()
        tuned(adapter, given, steps)
        took.append(time.perf_counter() - began)
    return max(took[1] - took[0], 0.0) / _TRIAL_STEPS


def _losses(fitted: Examples, held: Examples) -> np.ndarray:
    """(n,) cross-entropy of each held-out example, under the best head."""
    shares = softmax(fit_head(fitted).head(held.x).astype(np.float64))
    own = shares[np.arange(len(held.y)), held.y]
    losses: np.ndarray = -np.log(np.maximum(own, 1e-9))
    return losses


def _config(adapter: Classifier, classes: int) -> RunConfig:
    changes: dict[str, dict[str, object]] = {
        "model": {"head": "prototype", "logit_scale": SCALE},
        "task_distribution": {"num_classes": max(classes, 2)},
    }
    if not adapter.leaves:
        changes["peft"] = dict(LORA)
    return adapter.config.with_changes(**changes)

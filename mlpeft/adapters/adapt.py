"""Adapts a meta-learned start to a few examples of the user's own."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np

from mlpeft import params
from mlpeft.adapters.adapter import bare_model
from mlpeft.adapters.start import start_history, start_theta
from mlpeft.adapters.store import adapter_class, save
from mlpeft.adapters.support import read_support
from mlpeft.config.learning import INNER_STEPS
from mlpeft.errors import ConfigError
from mlpeft.meta import state
from mlpeft.meta.functional import Functional
from mlpeft.meta.inner import InnerLoop, inner_loop
from mlpeft.meta.support import PreparedSupport
from mlpeft.models.losses import cross_entropy_loss
from mlpeft.platform import set_blas_threads
from mlpeft.seeds import Purpose, generator
from mlpeft.training.trained import load_trained

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    import mlx.nn as nn

    from mlpeft.adapters.classifier import Classifier
    from mlpeft.adapters.completer import Completer
    from mlpeft.adapters.support import Support
    from mlpeft.params import ParamTree
    from mlpeft.training.trained import Trained


def adapt(
    checkpoint: str | Path | Trained,
    support: str | Path | Iterable[Sequence[str]],
    output: str | Path | None = None,
    *,
    steps: int | None = None,
    label_names: bool | None = None,
    config: str | Path | None = None,
    overrides: Iterable[str] = (),
    allow_modules: Container[str] = (),
) -> Classifier | Completer:
    """Adapt a trained start to examples, with the inner loop of evaluation.

    Args:
        checkpoint: A run's folder (its best step), one of its steps, an .npz file, or
            what `load_trained` gave.
        support: A .jsonl or .csv file, or pairs. For an encoder of text and label, any
            number of labels from two; for a language model of prompt and completion.
        output: A folder to save the adapter in; None: it is not saved.
        steps: Inner steps; None: as the run's evaluation.
        label_names: Whether the name of each label, in words, is one more example of
            it; None: as in the run's own tasks.
        config: Where the checkpoint has no configuration beside it.
        overrides: `section.key=value` on top of the run's configuration.
        allow_modules: See `load_trained`.

    Raises:
        ConfigError: If the run's model does not read text, or its head is part of
            theta and made for another number of labels.
        DataError: If the examples cannot be used, or the base is missing.
        FileNotFoundError: If there is no such checkpoint or support file.
        CheckpointError: If the checkpoint cannot be read.
        ParamMismatch: If it does not fit the configured model.
    """
    if isinstance(checkpoint, (str, Path)):
        trained = load_trained(checkpoint, config, overrides, allow_modules)
    else:
        trained = checkpoint
    given = read_support(trained.config, support, label_names=label_names)
    run = given.config
    set_blas_threads(run.compute.threads)
    model = bare_model(run)
    theta = _as_mlx(start_theta(trained, model))
    inner_state = _as_mlx(state.split(trained.meta)[1])
    if run.evaluation.head != INNER_STEPS and steps is None:
        raise ConfigError(
            f"evaluation.head: the run fits a head ({run.evaluation.head}), and this "
            "takes inner steps; give mlpeft adapt --start RUN --head "
            f"{run.evaluation.head} (TextClassifier in Python), or say how many --steps"
        )
    inner = InnerLoop.for_evaluation(run)
    if steps is not None:
        inner = replace(inner, num_steps=steps)
    leaves, losses = inner_steps(model, inner, theta, inner_state, given)
    history = {
        "examples": given.examples,
        "label_names": given.named,
        "steps": inner.num_steps,
        "inner_lr": inner.lr,
        "loss_before": losses[0],
        "loss_after": losses[-1],
    }
    adapter = adapter_class(run)(
        config=run,
        labels=given.labels,
        leaves=leaves,
        history=start_history(trained) | history,
    )
    if output is not None:
        save(adapter, output)
    return adapter


def _as_mlx(tree: ParamTree) -> ParamTree:
    return {name: mx.array(leaf) for name, leaf in tree.items()}


def inner_steps(
    model: nn.Module,
    inner: InnerLoop,
    theta: ParamTree,
    inner_state: ParamTree,
    given: Support,
) -> tuple[ParamTree, list[float]]:
    """Leaves after the inner steps, and the loss of all examples before and after.

    Step by step and uncompiled: it is done once, and a compiler takes longer.
    """
    functional = Functional(
        model,
        cross_entropy_loss,
        gradient_checkpointing=given.config.compute.gradient_checkpointing,
        adaptation=inner.adaptation,
    )
    make_rng = partial(generator, given.config.run.seed, Purpose.BATCH)
    support = PreparedSupport.of_task(functional, inner, given.x, given.y, make_rng)
    with functional.installed():
        iterates = inner_loop(functional, inner, theta, inner_state, support)
        end = start = next(iterates)
        before = functional.loss(start.params, *support.whole)
        for end in iterates:
            mx.eval(end.params, end.state)
        after = functional.loss(end.params, *support.whole)
        losses = np.array(mx.stack([before, after]))
    leaves = functional.adaptation.adapter_leaves(end.params)
    return params.to_numpy(leaves), losses.tolist()

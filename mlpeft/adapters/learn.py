"""Adapts a meta-learned start to a few examples of the user's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np

from mlpeft import params
from mlpeft.adapters.adapter import Adapter, bare_model
from mlpeft.adapters.inputs import Texts
from mlpeft.adapters.start import start_theta, story_of
from mlpeft.adapters.store import save
from mlpeft.datasets.labelled import Labelled, read_labelled
from mlpeft.errors import ConfigError, DataError
from mlpeft.evaluate import load_trained
from mlpeft.meta import state
from mlpeft.meta.functional import Functional
from mlpeft.meta.inner import InnerLoop, grad_step
from mlpeft.meta.runner import eval_steps
from mlpeft.models.losses import cross_entropy_loss
from mlpeft.platform import set_blas_threads
from mlpeft.seeds import Purpose, generator

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import mlx.nn as nn

    from mlpeft.config import RunConfig
    from mlpeft.evaluate import Trained
    from mlpeft.params import ParamTree


def adapt(
    checkpoint: str | Path | Trained,
    support: str | Path | Iterable[Sequence[str]],
    output: str | Path | None = None,
    *,
    steps: int | None = None,
    config: str | Path | None = None,
    overrides: Iterable[str] = (),
) -> Adapter:
    """Adapt a trained start to labelled texts, with the inner loop of evaluation.

    Args:
        checkpoint: A run's folder (its best step), one of its steps, an .npz file, or
            what `load_trained` gave.
        support: A .jsonl or .csv file of texts and labels, or (text, label) pairs. Any
            number of labels from two, and of examples of each.
        output: A folder to save the adapter in; None: it is not saved.
        steps: Inner steps; None: as the run's evaluation.
        config: Where the checkpoint has no configuration beside it.
        overrides: `section.key=value` on top of the run's configuration.

    Raises:
        ConfigError: If the run's model does not read text, or its head is part of
            theta and made for another number of labels.
        DataError: If the examples cannot be used, or the base is missing.
        FileNotFoundError: If there is no such checkpoint or support file.
        CheckpointError: If the checkpoint cannot be read.
        ParamMismatch: If it does not fit the configured model.
    """
    if isinstance(checkpoint, (str, Path)):
        trained = load_trained(checkpoint, config, overrides)
    else:
        trained = checkpoint
    examples = _examples(support)
    labels = tuple(dict.fromkeys(example.label for example in examples))
    _check(trained.config, examples, labels)
    run = trained.config.with_changes(task_distribution={"num_classes": len(labels)})
    set_blas_threads(run.compute.threads)
    inputs = Texts(run)
    model = bare_model(run)
    theta = _as_mlx(start_theta(trained, model))
    inner_state = _as_mlx(state.split(trained.meta)[1])
    x = inputs([example.text for example in examples])
    y = np.array([labels.index(example.label) for example in examples], np.int32)
    inner = _inner_loop(run, steps)
    leaves, losses = _inner_steps(model, inner, theta, inner_state, x, y, run.run.seed)
    adapter = Adapter(
        config=run,
        labels=labels,
        leaves=leaves,
        story=story_of(trained)
        | {
            "examples": len(examples),
            "steps": inner.num_steps,
            "inner_lr": inner.lr,
            "loss_before": losses[0],
            "loss_after": losses[-1],
        },
    )
    if output is not None:
        save(adapter, output)
    return adapter


def _examples(support: str | Path | Iterable[Sequence[str]]) -> list[Labelled]:
    if isinstance(support, (str, Path)):
        return read_labelled(support)
    return [Labelled(*map(str, pair)) for pair in support]


def _check(
    config: RunConfig, examples: Sequence[Labelled], labels: Sequence[str]
) -> None:
    """The run's model can learn these examples."""
    if config.model.backbone != "encoder":
        raise ConfigError(
            f"model.backbone: adapt takes texts, but {config.model.backbone!r} does "
            "not read any; give a run with backbone encoder, such as that of "
            "configs/intents.yaml"
        )
    made_for = config.task_distribution.num_classes
    if config.model.head == "learned" and len(labels) != made_for:
        raise ConfigError(
            f"model.head: it is learned, and made for {made_for} labels, but the "
            f"examples have {len(labels)}; give as many, or train with head prototype"
        )
    if len(labels) < 2:
        raise DataError(
            f"{len(examples)} examples of {len(labels)} label; to tell labels apart, "
            "give examples of two at least"
        )


def _as_mlx(tree: ParamTree) -> ParamTree:
    return {name: mx.array(leaf) for name, leaf in tree.items()}


def _inner_loop(config: RunConfig, steps: int | None) -> InnerLoop:
    """The inner loop of the run's evaluation."""
    inner = InnerLoop.from_config(config.meta_learning)
    return replace(
        inner,
        num_steps=eval_steps(config)[-1] if steps is None else steps,
        batch_size=config.evaluation.inner_batch_size or inner.batch_size,
    )


def _inner_steps(
    model: nn.Module,
    inner: InnerLoop,
    theta: ParamTree,
    inner_state: ParamTree,
    x: np.ndarray,
    y: np.ndarray,
    seed: int,
) -> tuple[ParamTree, list[float]]:
    """Leaves after the inner steps, and the loss of all examples before and after.

    Step by step and uncompiled: it is done once, and a compiler takes longer.
    """
    functional = Functional(model, cross_entropy_loss)
    order = inner.batches(len(x), lambda: generator(seed, Purpose.BATCH))
    support_x, support_y = mx.array(x), mx.array(y)
    with functional.installed():
        leaves = theta | functional.episode_leaves(theta, support_x, support_y)
        own_state = inner.make_optimizer().init(leaves) | inner_state
        before = functional.loss(leaves, support_x, support_y)
        for step in range(inner.num_steps):
            batch_x, batch_y = support_x, support_y
            if order is not None:
                batch_x, batch_y = mx.array(x[order[step]]), mx.array(y[order[step]])
            leaves, own_state, _ = grad_step(
                functional, inner, leaves, own_state, batch_x, batch_y
            )
            mx.eval(leaves, own_state)
        after = functional.loss(leaves, support_x, support_y)
        losses = np.array(mx.stack([before, after]))
    return params.to_numpy(leaves), losses.tolist()

"""Joint training of an adapter: one classifier of all training classes.

What one would do with the same training data and no meta-learning: the adapter and a
head over all training classes, by Adam on batches of single utterances. The head
starts from the class means of the frozen encoder, since from chance its first steps
would spoil the adapter (Kumar et al. 2022, arXiv 2202.10054), and is thrown away in
the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# Before mlx.core: mlpeft loads a BLAS that MLX then uses.
from mlpeft import cross_entropy_loss

# isort: split
import mlx.core as mx
import numpy as np

from mlpeft.meta.functional import Functional, get_params, set_params
from mlpeft.meta.optimizers import Adam
from mlpeft.meta.outer import scheduled
from mlpeft.models.pretrained.encoder import unit
from mlpeft.params import to_numpy
from mlpeft.seeds import Purpose, generator
from mlpeft.tasks.families.intents.family import Intents
from mlpeft.training.plan import validation_shards

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.params import ParamTree
    from mlpeft.training.runner import ShardRunner

BATCH = 100
LR = 5e-4
BETA1 = 0.9
STEPS = 100
VALIDATE_EVERY = 25
HEAD = "joint_head"
UTTERANCES = 40
"""Of a class, for its mean."""


def train(runner: ShardRunner, file: Path) -> None:
    """Train, keep what validates best without adapting, and save theta's leaves.

    Args:
        runner: Of the recipe: its model, its tasks, its validation episodes.
        file: An .npz file, written when done.
    """
    rows, labels = _utterances(runner)
    rng = generator(runner.config.run.seed, Purpose.BASELINE)
    functional = Functional(runner.model, cross_entropy_loss)
    scale = runner.config.model.logit_scale
    step = mx.compile(mx.value_and_grad(_loss(runner.model, scale)))
    start = dict(get_params(runner.model))
    params = start | {HEAD: _class_means(runner.model, functional, rows, labels)}
    state = Adam(LR, BETA1).init(params)
    best: tuple[float, ParamTree] = (-1.0, {})
    for number in range(STEPS + 1):
        if number % VALIDATE_EVERY == 0:
            theta = to_numpy({name: params[name] for name in start})
            acc = _validated(runner, theta)
            print(f"joint, step {number}: validation {100 * acc:.1f} %", flush=True)
            if acc > best[0]:
                best = (acc, theta)
        picked = rng.permutation(len(rows))[:BATCH]
        batch = functional.prepare(rows[picked])
        with functional.installed():
            _, grads = step(params, batch, mx.array(labels[picked]))
        lr = scheduled("cosine", LR, 0.0, number, STEPS)
        params, state = Adam(lr, BETA1).step(params, grads, state)
        mx.eval(params, state)
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, **best[1])


def _class_means(
    model: Any, functional: Functional, rows: np.ndarray, labels: np.ndarray
) -> mx.array:
    """(classes, dims): the mean embedding of the first utterances of each class."""
    means = []
    for label in range(labels.max() + 1):
        batch = functional.prepare(rows[labels == label][:UTTERANCES])
        means.append(model.embed(batch).mean(axis=0))
        mx.eval(means[-1])
    return mx.stack(means)


def _loss(model: Any, scale: float) -> Any:
    def loss(params: ParamTree, batch: Any, labels: mx.array) -> mx.array:
        theta = {name: leaf for name, leaf in params.items() if name != HEAD}
        set_params(model, theta)
        logits = scale * (model.embed(batch) @ unit(params[HEAD]).T)
        return cross_entropy_loss(logits, labels)

    return loss


def _utterances(runner: ShardRunner) -> tuple[np.ndarray, np.ndarray]:
    """All utterances of the training classes, (n, length) tokens, and their labels."""
    task = runner.tasks.train.configs[0]  # which differ in their shots alone
    rows, labels = Intents(runner.config.paths.data_dir).utterances(task)
    return rows, labels


def _validated(runner: ShardRunner, theta: ParamTree) -> float:
    """Accuracy without adapting on the recipe's validation episodes."""
    shards = validation_shards(runner.config, runner.tasks, 0)
    found = [runner.run(theta, shard).per_task["acc"] for shard in shards]
    return float(np.concatenate(found)[:, 0].mean())

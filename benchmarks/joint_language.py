"""Joint training of an adapter of a language model: the messages of all people at once.

What one would do with the same messages and no meta-learning: Adam on batches of
messages of all training people at once, as many batches of as many messages as the
inner loops of the recipe see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

# Before mlx.core: mlpeft loads a BLAS that MLX then uses.
from mlpeft import cross_entropy_loss

# isort: split
import mlx.core as mx
import numpy as np

from mlpeft.adapters.completer import template_of, tokenizer_of
from mlpeft.datasets.completions import read_completions
from mlpeft.meta.functional import Functional, get_params
from mlpeft.meta.optimizers import Adam, clip_by_global_norm
from mlpeft.meta.outer import scheduled
from mlpeft.models.pretrained.tokenizers import read_language_tokenizer
from mlpeft.params import to_numpy, write_npz
from mlpeft.seeds import Purpose, generator
from mlpeft.tasks.assets import own_file
from mlpeft.tasks.families.completion_tokens import tokenise

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.tasks.families.completion_tokens import TokenisedTask
    from mlpeft.training.runner import ShardRunner

LRS = (5e-4, 2e-3)
"""Step sizes of Adam, falling to zero as a cosine."""
BETA1 = 0.9
GRAD_CLIP = 1.0


def train(runner: ShardRunner, lr: float, file: Path) -> None:
    """Train from the run's random start, and save theta's leaves.

    Args:
        runner: Of the recipe: its model and its tasks.
        lr: The first step size.
        file: An .npz file, written when done.
    """
    config = runner.config
    settings, tasks = config.meta_learning, config.task_distribution
    inner_loops = settings.num_meta_iterations * settings.meta_batch_size
    steps = inner_loops * settings.num_inner_steps
    messages = _messages(runner)
    rng = generator(config.run.seed, Purpose.BASELINE)
    functional = Functional(runner.model, cross_entropy_loss)
    gradient = mx.value_and_grad(functional.loss)
    params = get_params(runner.model)
    state = Adam(lr, BETA1).init(params)
    losses = []
    for number in range(steps):
        picked = rng.choice(len(messages.x), tasks.k_shot, replace=False)
        x, y = messages.rows(picked)
        with functional.installed():
            loss, grads = gradient(params, functional.prepare(x, y), mx.array(y))
            optimizer = Adam(scheduled("cosine", lr, 0.0, number, steps), BETA1)
            grads = clip_by_global_norm(grads, GRAD_CLIP)
            params, state = optimizer.step(params, grads, state)
            mx.eval(params, state, loss)
        losses.append(loss.item())
        if (number + 1) % 40 == 0:
            mean = np.mean(losses[-40:])
            print(f"joint, {lr:g}, step {number + 1}: loss {mean:.3f}", flush=True)
    write_npz(file, to_numpy(params))


def _messages(runner: ShardRunner) -> TokenisedTask:
    """Those of all training people."""
    config = runner.config
    (template,) = runner.tasks.train.configs
    people = read_completions(own_file(str(template.task_params["path"])))
    examples = [
        example for name in people.splits["train"] for example in people.examples[name]
    ]
    tokenizer = read_language_tokenizer(tokenizer_of(config))
    return tokenise(examples, template_of(config), tokenizer)

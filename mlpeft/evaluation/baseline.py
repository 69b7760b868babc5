"""BaselineComparison: a meta-learned model against a fresh one, in a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlpeft import params
from mlpeft.config import MetaLearningSection, checked
from mlpeft.meta.engine import Engine
from mlpeft.meta.functional import get_params
from mlpeft.meta.inner import InnerLoop
from mlpeft.meta.user_episodes import as_episodes
from mlpeft.models.losses import cross_entropy_loss
from mlpeft.results import half_width
from mlpeft.seeds import Purpose, generator
from mlpeft.tasks.episode import Episode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import mlx.nn as nn

    from mlpeft.meta.functional import LossFn
    from mlpeft.params import Array

_META = MetaLearningSection()


class BaselineComparison:
    """Compares two starting points on the same episodes."""

    @staticmethod
    def compare_few_shot_performance(
        meta_learned_model: nn.Module,
        standard_model: nn.Module,
        episodes: Iterable[Sequence[Array]],
        k_shots: Sequence[int] = (1, 5, 10),
        *,
        inner_lr: float = _META.inner_lr,
        num_inner_steps: int = _META.num_inner_steps,
        loss_fn: LossFn = cross_entropy_loss,
    ) -> dict[int, dict[str, float]]:
        """Accuracy of both models after adapting to k examples.

        For each k, the first k labelled examples of an episode are its support set:
        those of its support set, then, where that has fewer, of its query set. The
        queries that are left are scored, the same ones for both models.

        Args:
            meta_learned_model: Holds the meta-learned parameters.
            standard_model: Holds the parameters to compare with.
            episodes: (support_x, support_y, query_x, query_y) each.
            k_shots: Support examples in all, as `TaskConfig.support_size` counts them.
            inner_lr: Step size of the adaptation.
            num_inner_steps: Gradient steps of the adaptation.
            loss_fn: `(outputs, targets) -> scalar`.

        Returns:
            For each k: `meta_acc`, `baseline_acc`, and their 95 % intervals over
            episodes, `meta_ci95` and `baseline_ci95` (NaN for one episode).

        Raises:
            ValueError: If there are no episodes, or an episode has not more than k
                examples in all, so that no query would be left, or a setting, a
                shape or a label is not a possible one.
        """
        inner = InnerLoop.from_config(
            checked(
                MetaLearningSection, inner_lr=inner_lr, num_inner_steps=num_inner_steps
            )
        )
        models = {"meta": meta_learned_model, "baseline": standard_model}
        engines = {
            name: (Engine(model, loss_fn, inner), params.to_numpy(get_params(model)))
            for name, model in models.items()
        }
        outputs_of = engines["meta"][0].outputs
        whole = [
            Episode(*map(np.asarray, episode))
            for episode in as_episodes(episodes, loss_fn, outputs_of)
        ]
        if not whole:
            raise ValueError("no episodes to compare on; sample at least one")
        table: dict[int, dict[str, float]] = {}
        for k in k_shots:
            cut = [_with_support(episode, k) for episode in whole]
            table[k] = {}
            for name, (engine, theta) in engines.items():
                scores = engine.evaluate(theta, cut, _rng, [num_inner_steps])
                if scores.acc is None:
                    raise ValueError(
                        "accuracy needs class labels (integers), but the episodes "
                        "have float targets; compare losses with mlpeft.evaluate"
                    )
                acc = scores.acc[:, 0]
                table[k][f"{name}_acc"] = float(acc.mean())
                table[k][f"{name}_ci95"] = float(half_width(acc))
        return table


def _with_support(episode: Episode, k: int) -> Episode:
    """The same examples, the first k of them as support."""
    x = np.concatenate([episode.support_x, episode.query_x])
    y = np.concatenate([episode.support_y, episode.query_y])
    if not 1 <= k < len(x):
        raise ValueError(
            f"k_shots holds {k}, but an episode has {len(x)} examples in all; give "
            f"1 to {len(x) - 1}, or episodes with more queries"
        )
    return Episode(x[:k], y[:k], x[k:], y[k:])


def _rng(index: int) -> np.random.Generator:
    return generator(0, Purpose.BASELINE, index)

"""Scores queries with a head that is fitted to the support set's embeddings.

Theta stays as it is and no inner step is taken: the encoder embeds the support set, one
of `mlpeft.heads` is fitted to the embeddings, and the queries are classified by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from mlpeft.errors import ConfigError
from mlpeft.heads.auto import fit_head
from mlpeft.heads.examples import Examples
from mlpeft.meta import norm_statistics
from mlpeft.meta.functional import set_params
from mlpeft.models.losses import (
    accuracy,
    calibration_sums,
    cross_entropy_loss,
    mse_loss,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import mlx.nn as nn

    from mlpeft.meta.functional import Functional, LossFn
    from mlpeft.meta.scoring import Scores
    from mlpeft.meta.strategies import StrategyName
    from mlpeft.params import MlxTree, ParamTree
    from mlpeft.tasks.episode import Episode


def check_head(model: nn.Module, loss_fn: LossFn, kind: str) -> None:
    """Refuse a head that cannot be fitted.

    Raises:
        ConfigError: If the tasks are no classifications or the model embeds nothing.
    """
    if loss_fn is mse_loss:
        raise ConfigError(
            f"evaluation.head: {kind} classifies, and these tasks are regressions; set "
            "inner_steps"
        )
    if not hasattr(model, "embed"):
        raise ConfigError(
            f"evaluation.head: {kind} is fitted to embeddings, and a "
            f"{type(model).__name__} has no method embed(x) that gives its last "
            "layer's inputs (n, dims); add one, or set inner_steps"
        )


class HeadScorer:
    """Fits a head to each episode's support set; called as `Scorer` is.

    Args:
        functional: The model.
        kind: One of `mlpeft.heads.auto.KINDS`.
        transductive: See `Scorer`.
        label_names: Whether the last rows of a support set, one of each class, are the
            names of the classes.
    """

    takes_second_derivatives = False
    strategy: StrategyName = "loop"

    def __init__(
        self,
        functional: Functional,
        kind: str,
        *,
        transductive: bool,
        label_names: bool = False,
    ) -> None:
        check_head(functional.model, functional.loss_fn, kind)
        self.functional = functional
        self.kind = kind
        self.label_names = label_names
        self.alone = functional.uses_batch_statistics and not transductive
        self.calibrated = False

    def calibrate(self) -> None:
        """From now on, sum up the calibration as well."""
        self.calibrated = True

    def __call__(
        self,
        theta: MlxTree,
        state: ParamTree,
        episodes: Sequence[Episode],
        make_rngs: Sequence[Callable[[], np.random.Generator]],
        steps: Sequence[int],
        progress: Callable[[int], None] = lambda _: None,
    ) -> Scores:
        """Loss and accuracy (tasks, 1), and calibration sums if asked for."""
        rows: list[list[np.ndarray]] = []
        for episode in episodes:
            logits = mx.array(self._logits(theta, state, episode))
            y = mx.array(np.asarray(episode.query_y))
            scores = [cross_entropy_loss(logits, y), accuracy(logits, y)]
            if self.calibrated:
                scores.append(calibration_sums(logits, y))
            rows.append([np.asarray(score)[None] for score in scores])
            progress(len(rows))
        loss, acc, *others = (np.stack(column) for column in zip(*rows, strict=True))
        return loss, acc, others[0] if others else None

    def predictions(
        self,
        theta: MlxTree,
        state: ParamTree,
        episode: Episode,
        make_rng: Callable[[], np.random.Generator],
        steps: int,
    ) -> np.ndarray:
        """The class of each query of an episode, (queries,)."""
        classes: np.ndarray = self._logits(theta, state, episode).argmax(axis=1)
        return classes

    def _logits(self, theta: MlxTree, state: ParamTree, episode: Episode) -> np.ndarray:
        """(queries, classes) calibrated logits."""
        support_y = np.asarray(episode.support_y)
        classes = int(max(support_y.max(), np.max(episode.query_y))) + 1
        support, query = self._embeddings(theta, state, episode)
        names = len(np.unique(support_y)) if self.label_names else 0
        examples = Examples.of(support, support_y, classes, names=names)
        return fit_head(examples, self.kind).head(query)

    def _embeddings(
        self, theta: MlxTree, state: ParamTree, episode: Episode
    ) -> tuple[np.ndarray, np.ndarray]:
        """Unit vectors of the support set and of the queries."""
        functional = self.functional
        adaptation, model = functional.adaptation, functional.model
        norms = norm_statistics.at_step(norm_statistics.split(state)[1], 0)
        support_x, query_x = np.asarray(episode.support_x), np.asarray(episode.query_x)
        with functional.installed(), functional.norms.normalising(norms):
            set_params(model, adaptation.model_leaves(adaptation.begin(theta)))
            support = self._embed(support_x)
            if norms or not self.alone:
                return support, self._embed(query_x)
            beside = (np.concatenate([support_x, query[None]]) for query in query_x)
            return support, np.stack([self._embed(batch)[-1] for batch in beside])

    def _embed(self, x: np.ndarray) -> np.ndarray:
        """(n, dims) float32 unit vectors."""
        model: Any = self.functional.model
        embeddings = np.asarray(model.embed(self.functional.prepare(x)), np.float32)
        norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
        unit: np.ndarray = embeddings / np.maximum(norms, 1e-12)
        return unit

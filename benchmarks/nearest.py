"""Scores a start without inner steps, each utterance embedded once.

Without inner steps the head of an episode is its class means, or one that is fitted to
its support set, and what the encoder makes of an utterance is the same in every
episode. So 600 episodes cost no more than the utterances that are in them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# Before mlx.core: mlpeft loads a BLAS that MLX then uses.
from mlpeft import cross_entropy_loss

# isort: split
import mlx.core as mx
import numpy as np

from mlpeft.heads.auto import fit_head
from mlpeft.heads.examples import Examples
from mlpeft.heads.unlabelled import fit_with_unlabelled
from mlpeft.meta import state
from mlpeft.meta.functional import Functional, set_params

if TYPE_CHECKING:
    from mlpeft.params import ParamTree
    from mlpeft.training.runner import ShardRunner
    from mlpeft.work import TaskSpec

BATCH = 64


TRANSDUCTIVE = "transductive"
"""A head that learns from the queries of its episode, without their labels, too."""


class Nearest:
    """The nearest class mean under a start, or a head.

    Args:
        runner: Of a sentence classifier with head prototype.
        meta: The start's meta-state.
        known: Embeddings under it by utterance, as far as there are any; filled.
        head: One of `mlpeft.heads.auto.KINDS`, or `TRANSDUCTIVE`; None: class means.
    """

    def __init__(
        self,
        runner: ShardRunner,
        meta: ParamTree,
        known: dict[bytes, np.ndarray] | None = None,
        head: str | None = None,
    ) -> None:
        params = runner.config.task_distribution.task_params
        self._named = bool(params.get("label_names", False))
        self._head = head
        self._tasks = runner.tasks.test
        self._model: Any = runner.model
        self._functional = Functional(runner.model, cross_entropy_loss)
        theta, _ = state.split(meta)
        self._theta = {name: mx.array(leaf) for name, leaf in theta.items()}
        self._known = {} if known is None else known

    def acc(self, spec: TaskSpec) -> float:
        """Accuracy of one episode's queries."""
        episode = self._tasks.episode(spec.task_id, spec.seed)
        x = np.concatenate([np.asarray(episode.support_x), np.asarray(episode.query_x)])
        labels = np.asarray(episode.support_y)
        embedded = self._embed(x)
        support, query = embedded[: len(labels)], embedded[len(labels) :]
        if self._head is not None:
            return float(
                (self._answers(support, labels, query) == episode.query_y).mean()
            )
        member = labels == np.arange(labels.max() + 1)[:, None]
        means = member.astype(np.float32) @ support
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        return float(((query @ means.T).argmax(1) == episode.query_y).mean())

    def _answers(
        self, support: np.ndarray, labels: np.ndarray, query: np.ndarray
    ) -> np.ndarray:
        classes = int(labels.max()) + 1
        names = classes if self._named else 0
        examples = Examples.of(support, labels, classes, names=names)
        if self._head == TRANSDUCTIVE:
            head = fit_with_unlabelled(examples, query)
        else:
            head = fit_head(examples, str(self._head)).head
        return head(query).argmax(axis=1)

    def _embed(self, rows: np.ndarray) -> np.ndarray:
        """(n, length) token numbers, padded with 0 -> (n, dims) of length 1."""
        keys = [np.trim_zeros(row, "b").tobytes() for row in rows]
        new = list(
            {key: n for n, key in enumerate(keys) if key not in self._known}.values()
        )
        for first in range(0, len(new), BATCH):
            places = new[first : first + BATCH]
            batch = self._functional.prepare(rows[places])
            with self._functional.installed():
                set_params(self._model, self._theta)
                found = np.array(self._model.embed(batch))
            self._known |= {
                keys[place]: row for place, row in zip(places, found, strict=True)
            }
        return np.stack([self._known[key] for key in keys])

"""What prototypical, matching and relation networks share: nothing adapts.

An episode's support set is embedded, and queries are compared with it. Theta is the
body of the model, without its head: the part that `embed` uses. The meta-gradient is
that of the queries' loss, through queries and support set both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import mlx.core as mx

from mlpeft.errors import ConfigError
from mlpeft.meta.adaptation import Selective
from mlpeft.meta.heads import head_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    import mlx.nn as nn

    from mlpeft.meta.functional import ModelInput
    from mlpeft.params import Array, MlxTree, ParamTree

ABSENT = -1e4
"""Logit of a class without examples, so that it is never predicted."""


@dataclass(frozen=True)
class MetricHead(Selective):
    """A head of embeddings of the support set.

    Attributes:
        name: The algorithm's.
        head: Dotted path of the model's own head, once a model is known.
        classes: Its outputs.
        dims: Its inputs: numbers of an embedding.
        scale: Inverse temperature of the logits: the head's own, or 1.
    """

    metric = True
    name: str = "metric"
    head: str = ""
    classes: int = 0
    dims: int = 0
    scale: float = 1.0

    def bound(self, model: Any) -> Self:
        """With the sizes of the head that it stands in for."""
        head = head_path(model)
        if head is None or not hasattr(model, "embed"):
            raise ConfigError(
                f"meta_learning.algorithm: {self.name} compares embeddings, and a "
                f"{type(model).__name__} has no method embed(x) that gives its last "
                "layer's inputs (n, dims), or no last layer named head; add them, or "
                "take an algorithm that adapts"
            )
        layer: Any = dict(model.named_modules())[head]
        classes, dims = layer.weight.shape
        scale = float(getattr(layer, "scale", 1.0))
        return replace(self, head=head, classes=classes, dims=dims, scale=scale)

    def theta(self, leaves: Mapping[str, Array]) -> ParamTree:
        """All but the head's."""
        return {k: v for k, v in leaves.items() if not k.startswith(f"{self.head}.")}

    def adapts(self, name: str) -> bool:
        """Nothing does."""
        return False

    def starts_episodes(self, model: nn.Module) -> bool:
        """With the support set."""
        return True

    def call(self, model: Any, params: MlxTree, x: ModelInput) -> mx.array:
        """Logits (n, classes)."""
        return self.logits(model.embed(x), params)

    def episode_start(
        self, model: Any, x: ModelInput, y: mx.array, theta: MlxTree
    ) -> MlxTree:
        """What the queries are compared with."""
        return self.references(model.embed(x), y, theta)

    def references(self, embeddings: mx.array, y: mx.array, theta: MlxTree) -> MlxTree:
        """Leaves that an episode starts with.

        Args:
            embeddings: (n, dims) of the support set.
            y: (n,) labels.
            theta: Theta's leaves.
        """
        raise NotImplementedError

    def logits(self, embeddings: mx.array, params: MlxTree) -> mx.array:
        """Logits (n, classes) of embeddings (n, dims)."""
        raise NotImplementedError

    def adapter_leaves(self, params: MlxTree) -> MlxTree:
        """An adapted model's leaves, with a linear head that classifies as this does.

        Raises:
            ConfigError: If no linear head does.
        """
        raise ConfigError(
            f"meta_learning.algorithm: {self.name} compares a text with every example, "
            "which an adapter has no room for; train with protonet to adapt to texts"
        )

    def members(self, y: mx.array) -> mx.array:
        """(classes, n): 1 where an example is of a class."""
        return (y[None, :] == mx.arange(self.classes)[:, None]).astype(mx.float32)


def class_means(members: mx.array, embeddings: mx.array) -> mx.array:
    """Mean embedding (classes, dims) of each class; zeros for one without examples."""
    counts = mx.maximum(mx.sum(members, axis=1, keepdims=True), 1.0)
    return (members @ embeddings) / counts


def absences(members: mx.array) -> mx.array:
    """(classes,): 0, or `ABSENT` for a class without examples."""
    return mx.where(mx.sum(members, axis=1) > 0, 0.0, ABSENT)

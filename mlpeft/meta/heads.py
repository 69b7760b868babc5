"""Which of a model's leaves are its head: its last layer.

And the base of the algorithms whose inner steps change one side of it alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from mlpeft.errors import ConfigError
from mlpeft.meta.adaptation import Selective

if TYPE_CHECKING:
    from collections.abc import Sequence

    import mlx.nn as nn

    from mlpeft.config import MetaLearningSection


def head_path(model: nn.Module) -> str | None:
    """Dotted path of a model's last layer: `head`, or the last of its `layers`."""
    if "head" in model:
        return "head"
    layers = model.get("layers")
    if isinstance(layers, list) and layers:
        return f"layers.{len(layers) - 1}"
    return "linear" if "linear" in model else None


def head_prefixes(
    model: nn.Module, named: Sequence[str] | None, algorithm: str
) -> tuple[str, ...]:
    """What the names of the head's leaves begin with.

    Args:
        model: Any module.
        named: `meta_learning.head_leaves`.
        algorithm: Whose head is wanted, for the error.

    Raises:
        ConfigError: If the configuration names none and the model has no last layer by
            one of the usual names.
    """
    if named is not None:
        return tuple(named)
    path = head_path(model)
    if path is None:
        raise ConfigError(
            f"meta_learning.head_leaves: {algorithm} tells the head from the body, but "
            f"a {type(model).__name__} has no last layer named head or layers.N; give "
            "what the names of the head's leaves begin with, such as model.layers.29."
        )
    return (f"{path}.",)


@dataclass(frozen=True)
class SplitAtHead(Selective):
    """Head and body are told apart; subclasses say which of them adapts.

    Attributes:
        algorithm: Its name, for errors.
        named: `meta_learning.head_leaves`.
        head: What the names of the head's leaves begin with, once a model is known.
    """

    algorithm: ClassVar[str]
    named: tuple[str, ...] | None = None
    head: tuple[str, ...] = ()

    @classmethod
    def from_config(cls, config: MetaLearningSection) -> Self:
        """As a run is configured."""
        named = config.head_leaves
        return cls(None if named is None else tuple(named))

    def bound(self, model: nn.Module) -> Self:
        """With the model's head.

        Raises:
            ConfigError: As `head_prefixes`.
        """
        return replace(self, head=head_prefixes(model, self.named, self.algorithm))

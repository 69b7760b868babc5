"""Which of a model's leaves are its head: its last layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import mlx.nn as nn


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

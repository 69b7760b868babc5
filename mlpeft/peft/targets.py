"""Which layers of a model a method changes: by name, and by how far up they are."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import mlx.nn as nn
from mlx.utils import tree_unflatten

from mlpeft.errors import ConfigError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_BLOCK = re.compile(r"(?:^|\.)layers\.(\d+)(?:\.|$)")


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Whether a dotted path, or the end of it from a dot on, fits a pattern.

    `query` fits `layers.0.attention.query`; `layers.0.*` and `*` are patterns too.
    """
    return any(
        fnmatchcase(path, pattern) or fnmatchcase(path, f"*.{pattern}")
        for pattern in patterns
    )


def linear_layers(
    model: nn.Module, keys: Sequence[str], num_layers: int | None = None
) -> dict[str, nn.Linear]:
    """The linear layers that a method shall change, in the order of their paths.

    Args:
        model: Any module.
        keys: Patterns of their paths, see `matches`.
        num_layers: Only in so many of the last blocks (`layers.N`); None: all.

    Raises:
        ConfigError: If there is none, with the names that there are.
    """
    linear = {
        path: module
        for path, module in sorted(model.named_modules())
        if isinstance(module, nn.Linear)
    }
    chosen = {path: layer for path, layer in linear.items() if matches(path, keys)}
    if num_layers is not None:
        blocks = sorted({_block(path) for path in linear} - {None}, key=_as_number)
        last = set(blocks[-num_layers:])
        chosen = {path: layer for path, layer in chosen.items() if _block(path) in last}
    if not chosen:
        names = {path.rpartition(".")[2] for path in linear}
        raise ConfigError(
            f"peft.keys: {list(keys)} fits no linear layer of this model"
            + (f" in its last {num_layers} layers" if num_layers else "")
            + f"; {nearest(keys[0], names)}"
        )
    return chosen


def replace(model: nn.Module, modules: Mapping[str, nn.Module]) -> None:
    """Put modules in the place of those at these paths."""
    model.update_modules(tree_unflatten(list(modules.items())))


def _block(path: str) -> int | None:
    found = _BLOCK.search(path)
    return int(found[1]) if found else None


def _as_number(block: int | None) -> int:
    return -1 if block is None else block

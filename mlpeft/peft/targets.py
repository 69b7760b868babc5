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

    from mlpeft.peft.linear import Linear

_BLOCK = re.compile(r"(?:^|\.)layers\.(\d+)(?:\.|$)")


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Whether a dotted path, or the end of it from a dot on, fits a pattern.

    `query` fits `layers.0.attention.query`; `layers.0.*` and `*` are patterns too.
    """
    return any(
        fnmatchcase(path, pattern) or fnmatchcase(path, f"*.{pattern}")
        for pattern in patterns
    )


def inside(path: str, patterns: Iterable[str]) -> bool:
    """Whether a module, or one that it is part of, fits a pattern."""
    parts = path.split(".")
    prefixes = (".".join(parts[: end + 1]) for end in range(len(parts)))
    patterns = list(patterns)
    return any(matches(prefix, patterns) for prefix in prefixes)


def linear_layers(
    model: nn.Module,
    keys: Sequence[str] | None,
    default: Sequence[str],
    num_layers: int | None = None,
) -> dict[str, Linear]:
    """The linear layers that a method shall change, in the order of their paths.

    Args:
        model: Any module.
        keys: Patterns of their paths, see `matches`; each must fit a layer.
        default: The method's own patterns, taken where `keys` is None; any of them may
            fit nothing, as models have different names.
        num_layers: Only in so many of the last blocks (`layers.N`); None: all.

    Raises:
        ConfigError: If there is none, or a key fits none; with the names that there
            are.
    """
    linear = {
        path: module
        for path, module in sorted(model.named_modules())
        if path and isinstance(module, nn.Linear | nn.QuantizedLinear)
    }
    _check_keys(keys, linear, "linear layer")
    patterns = default if keys is None else keys
    chosen = {path: layer for path, layer in linear.items() if matches(path, patterns)}
    last = last_blocks(linear, num_layers)
    if last is not None:
        chosen = {path: layer for path, layer in chosen.items() if block(path) in last}
    if not chosen:
        raise ConfigError(
            f"peft.keys: {list(patterns)} fits no linear layer of this model"
            + (f" in its last {num_layers} layers" if num_layers else "")
            + f"; {nearest(patterns[0], _ends(linear))}"
        )
    return chosen


def chosen_modules(
    model: nn.Module, keys: Sequence[str] | None, num_layers: int | None = None
) -> frozenset[str]:
    """The paths of modules of any kind that are chosen, with all inside of them.

    Args:
        model: Any module.
        keys: Patterns of their paths, see `matches`; None: all of the model.
        num_layers: Only in so many of the last blocks (`layers.N`); None: all.

    Raises:
        ConfigError: If a key fits none, or no chosen one is in these blocks.
    """
    paths = sorted(path for path, _ in model.named_modules())
    _check_keys(keys, paths, "module")
    chosen = frozenset(path for path in paths if keys is None or inside(path, keys))
    last = last_blocks(paths, num_layers)
    if last is not None:
        chosen = frozenset(path for path in chosen if block(path) in last)
    if not chosen:
        raise ConfigError(
            f"peft.num_layers: no chosen module is in the last {num_layers} layers; "
            "this model may have no blocks named layers.0, layers.1, ...: set null"
        )
    return chosen


def last_blocks(paths: Iterable[str], num_layers: int | None) -> set[int] | None:
    """The numbers of the last so many blocks; None: all are meant."""
    if num_layers is None:
        return None
    numbers = {number for path in paths if (number := block(path)) is not None}
    return set(sorted(numbers)[-num_layers:])


def block(path: str) -> int | None:
    """N where a module is in `layers.N`."""
    found = _BLOCK.search(path)
    return int(found[1]) if found else None


def replace(model: nn.Module, modules: Mapping[str, nn.Module]) -> None:
    """Put modules in the place of those at these paths."""
    model.update_modules(tree_unflatten(list(modules.items())))


def _check_keys(keys: Sequence[str] | None, paths: Iterable[str], kind: str) -> None:
    """Every key that was given fits something: a typo must not pass in silence."""
    paths = list(paths)
    idle = [
        key for key in keys or () if not any(matches(path, [key]) for path in paths)
    ]
    if idle:
        raise ConfigError(
            f"peft.keys: {key!r} fits no {kind} of this model; "
            f"{nearest(key, _ends(paths))}"
            for key in idle
        )


def _ends(paths: Iterable[str]) -> set[str]:
    return {path.rpartition(".")[2] for path in paths if path}

"""Select the layers of a model that a method adapts, by name and by depth."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from mlx.utils import tree_unflatten

from mlpeft.errors import ConfigError, nearest
from mlpeft.peft.linear import is_experts, is_linear
from mlpeft.peft.uncalled import uncalled

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import mlx.nn as nn

    from mlpeft.peft.linear import Linear

BLOCKS = ("layers", "blocks", "h")
"""What models name the list of their blocks."""
_BLOCK = re.compile(rf"(?:^|\.)(?:{'|'.join(BLOCKS)})\.(\d+)(?:\.|$)")


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Whether a dotted path, or a suffix of it after a dot, matches a pattern.

    `query` matches `layers.0.attention.query`; `layers.0.*` and `*` are patterns too.
    """
    return any(
        fnmatchcase(path, pattern) or fnmatchcase(path, f"*.{pattern}")
        for pattern in patterns
    )


def inside(path: str, patterns: Iterable[str]) -> bool:
    """Whether a module, or one that contains it, matches a pattern."""
    parts = path.split(".")
    prefixes = (".".join(parts[: end + 1]) for end in range(len(parts)))
    patterns = list(patterns)
    return any(matches(prefix, patterns) for prefix in prefixes)


def linear_layers(
    model: nn.Module,
    keys: Sequence[str] | None,
    default: Sequence[str],
    num_layers: int | None = None,
    *,
    experts: bool = False,
) -> dict[str, Linear]:
    """The linear layers that a method adapts, sorted by path.

    Args:
        model: Any module.
        keys: Patterns of their paths, see `matches`; each must match a layer.
        default: The method's patterns if `keys` is None; some may match nothing, as
            models have different names. Of a block in which none matches, all layers
            are chosen, as mlx-lm does of every block.
        num_layers: Only in the last `num_layers` blocks (`layers.N`); None: all.
        experts: Whether the method adapts the experts of a mixture too.

    Raises:
        ConfigError: If there is none, or a key matches none; suggests valid names.
            If a key matches only layers that the model never calls.
    """
    linear = {
        path: module
        for path, module in sorted(model.named_modules())
        if path and (is_linear(module) or (experts and is_experts(module)))
    }
    _check_keys(keys, linear, "linear layer")
    read = uncalled(model, linear)
    linear = {path: layer for path, layer in linear.items() if path not in read}
    _check_called(keys, linear, read)
    patterns = default if keys is None else keys
    chosen = {path: layer for path, layer in linear.items() if matches(path, patterns)}
    if keys is None:
        named = {block(path) for path in chosen} | {None}
        chosen |= {path: m for path, m in linear.items() if block(path) not in named}
        chosen = dict(sorted(chosen.items()))
    last = last_blocks(linear, num_layers)
    if last is not None:
        chosen = {path: layer for path, layer in chosen.items() if block(path) in last}
    if not chosen:
        raise ConfigError(
            f"peft.keys: {list(patterns)} matches no linear layer of this model"
            + (f" in its last {num_layers} layers" if num_layers else "")
            + f"; {nearest(patterns[0], _last_names(linear))}"
        )
    return chosen


def chosen_modules(
    model: nn.Module, keys: Sequence[str] | None, num_layers: int | None = None
) -> frozenset[str]:
    """The paths of the chosen modules of any kind and of their submodules.

    Args:
        model: Any module.
        keys: Patterns of their paths, see `matches`; None: the whole model.
        num_layers: Only in the last `num_layers` blocks (`layers.N`); None: all.

    Raises:
        ConfigError: If a key matches none, or no chosen one is in these blocks.
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
    """The indices of the last `num_layers` blocks; None: all blocks."""
    if num_layers is None:
        return None
    numbers = {number for path in paths if (number := block(path)) is not None}
    return set(sorted(numbers)[-num_layers:])


def block(path: str) -> int | None:
    """N of a module in `layers.N`; None for others."""
    match = _BLOCK.search(path)
    return int(match[1]) if match else None


def path_in_block(path: str) -> str:
    """The path of a module within its block; "" for others."""
    match = _BLOCK.search(path)
    return path[match.end() :] if match else ""


def replace(model: nn.Module, modules: Mapping[str, nn.Module]) -> None:
    """Replace the modules at these paths."""
    model.update_modules(tree_unflatten(list(modules.items())))


def _check_keys(keys: Sequence[str] | None, paths: Iterable[str], kind: str) -> None:
    """Every key must match something: a typo must not be ignored silently."""
    paths = list(paths)
    unmatched = [
        key for key in keys or () if not any(matches(path, [key]) for path in paths)
    ]
    if unmatched:
        raise ConfigError(
            f"peft.keys: {key!r} matches no {kind} of this model; "
            f"{nearest(key, _last_names(paths))}"
            for key in unmatched
        )


def _check_called(
    keys: Sequence[str] | None, linear: Iterable[str], read: Mapping[str, str]
) -> None:
    """Every key must match a layer that the model calls."""
    linear = list(linear)
    for key in keys or ():
        if not any(matches(path, [key]) for path in linear):
            path = next(path for path in read if matches(path, [key]))
            raise ConfigError(
                f"peft.keys: {key!r} matches only layers that the model never calls: "
                f"{read[path]} reads the weight of {path} itself, so adapting them "
                f"would have no effect; leave {key!r} out"
            )


def _last_names(paths: Iterable[str]) -> set[str]:
    return {path.rpartition(".")[2] for path in paths if path}

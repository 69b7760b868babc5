"""Puts others in the place of a module's parts while it is called.

mlx-lm's models are taken as they are; what is to go differently inside of one goes so
by a part that stands for its own.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import mlx.nn as nn


class ModuleProxy:
    """Stands for a part: its settings and its own parts are those of that one."""

    def __init__(self, part: nn.Module) -> None:
        self._stood_for = part

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stood_for, name)


@contextmanager
def parts_replaced(module: nn.Module, **parts: Any) -> Iterator[None]:
    """Other parts of a module, by name, until the block ends."""
    own = {name: module[name] for name in parts}
    try:
        for name, part in parts.items():
            module[name] = part
        yield
    finally:
        for name, part in own.items():
            module[name] = part

"""Wraps submodules so that one call of a model can behave differently.

mlx-lm's models are used unmodified; proxies replace their submodules during a call.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import mlx.nn as nn


class ModuleProxy:
    """Wraps a module and forwards every attribute to it."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


@contextmanager
def submodules_replaced(module: nn.Module, **substitutes: Any) -> Iterator[None]:
    """Replace submodules, by name, until the block ends."""
    originals = {name: module[name] for name in substitutes}
    try:
        for name, substitute in substitutes.items():
            module[name] = substitute
        yield
    finally:
        for name, original in originals.items():
            module[name] = original

"""An extension of griffe that shows defaults as values, not as expressions.

`inner_lr: float = _META.inner_lr` is shown as `inner_lr: float = 0.01`.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from griffe import Extension, Function


class Defaults(Extension):
    """Replaces defaults that are looked up by what they are at run time."""

    def on_function(self, *, func: Function, **_: Any) -> None:
        """Called for each function that griffe has read."""
        looked_up = [each for each in func.parameters if "." in str(each.default)]
        if not looked_up:
            return
        try:
            target: Any = importlib.import_module(func.module.path)
        except ImportError:  # of an extra that is not installed
            return
        for name in func.path.removeprefix(f"{func.module.path}.").split("."):
            target = inspect.getattr_static(target, name)
        known = inspect.signature(getattr(target, "__func__", target)).parameters
        for each in looked_up:
            # What a decorator made of the function may have other parameters.
            default = known[each.name].default if each.name in known else known
            if isinstance(default, bool | int | float | str | None):
                each.default = repr(default)

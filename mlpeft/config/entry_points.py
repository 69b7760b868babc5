"""The user's own Python objects, named as `package.module:name`.

Importing a module runs its code: callers of `load` must have checked that it may run.
Nothing of the standard library is ever called: `subprocess:getoutput` is no model.
"""

from __future__ import annotations

import importlib
import re
import sys
from typing import TYPE_CHECKING, Any, Final

from mlpeft.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

_FORM: Final = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<name>[A-Za-z_]\w*)")


def module_of(entry_point: object) -> str | None:
    """The module of an entry point; None if it does not have that form."""
    match = _FORM.fullmatch(str(entry_point))
    return match["module"] if match else None


def load(entry_point: str, key: str) -> Callable[..., Any]:
    """Import an entry point.

    Args:
        entry_point: `package.module:name`.
        key: Its configuration key, for the message.

    Raises:
        ConfigError: If it does not exist, is not callable, or belongs to Python.
    """
    module, _, name = entry_point.partition(":")
    if module.partition(".")[0] in sys.stdlib_module_names:
        raise ConfigError(
            f"{key}: {entry_point!r} names Python's standard library; expected a "
            "function in a module of your own"
        )
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{key}: cannot import {entry_point!r}: {error}; is its folder on "
            "PYTHONPATH? (PYTHONPATH=. for the current folder)"
        ) from error
    if not callable(function):
        kind = type(function).__name__
        raise ConfigError(f"{key}: {entry_point!r} is a {kind}, expected a function")
    return function  # type: ignore[no-any-return]

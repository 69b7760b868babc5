"""The user's own Python objects, named as `package.module:name`.

Importing a module runs its code: whoever calls `load` has seen to it that this may be.
"""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING, Any, Final

from mlpeft.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

_FORM: Final = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<name>[A-Za-z_]\w*)")


def module_of(entry_point: object) -> str | None:
    """The module that an entry point names; None if it is not of that form."""
    match = _FORM.fullmatch(str(entry_point))
    return match["module"] if match else None


def load(entry_point: str, key: str) -> Callable[..., Any]:
    """Import what an entry point names.

    Args:
        entry_point: `package.module:name`.
        key: Where the configuration has it, for the message.

    Raises:
        ConfigError: If it is not there, or cannot be called.
    """
    module, _, name = entry_point.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{key}: cannot import {entry_point!r}: {error}; is its folder on "
            "PYTHONPATH? (PYTHONPATH=. for the folder you are in)"
        ) from error
    if not callable(found):
        raise ConfigError(
            f"{key}: {entry_point!r} is a {type(found).__name__}, expected a function"
        )
    return found  # type: ignore[no-any-return]

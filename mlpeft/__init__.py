"""mlpeft: meta-learn the starting point of a fine-tune, on the Macs a lab already has.

    from mlpeft import ReptileLearner, SimpleClassifier, TaskConfig, TaskDistribution

`import mlpeft` alone changes nothing. A name is imported when it is first taken from
the package, and the first one makes MLX ready (`prepare`): on Linux that loads a fast
BLAS, which MLX uses only if it is there before `mlx.core` is imported. So take a name
from mlpeft, or call `mlpeft.prepare()`, before that.

The names are listed in `__init__.pyi`, once: type checkers read them there, and so does
this module.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Any

__version__ = "0.1.0"


def _listed() -> dict[str, str]:
    """The module of each public name, as the stub beside this file imports them."""
    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    return {
        alias.name: line.module
        for line in stub.body
        if isinstance(line, ast.ImportFrom) and line.module is not None
        for alias in line.names
    }


_HOMES = _listed()

__all__ = ["__version__", *sorted(_HOMES)]  # noqa: PLE0604 - all are strings


def __getattr__(name: str) -> Any:
    """Import a public name from its home when it is first asked for, and prepare."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'mlpeft' has no attribute {name!r}")
    importlib.import_module("mlpeft.platform").prepare()
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

"""The reference of the Python names: a directive of mkdocstrings for each."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

GROUPS = {
    "meta": "Learners",
    "models": "Models, losses",
    "tasks": "Tasks",
    "peft": "PEFT",
    "training": "Runs",
    "evaluation": "Scores",
    "results": "Scores",
    "adapters": "Classifiers, adapters",
    "exchange": "Other tools",
    "config": "Configuration",
    "errors": "Errors",
    "platform": "This machine",
    "reporting": "This machine",
}
"""The heading for the names of each package of mlpeft."""


def api(root: Path) -> str:
    """Every public name of mlpeft, by what it is for, in Markdown.

    Raises:
        KeyError: For a package without a heading in `GROUPS`.
    """
    names: dict[str, list[str]] = {title: [] for title in GROUPS.values()}
    for home, name in public_names(root):
        names[GROUPS[home.split(".")[1]]].append(f"::: {home}.{name}")
    return "\n\n".join(
        "\n\n".join([f"## {title}", *directives])
        for title, directives in names.items()
        if directives
    )


def public_names(root: Path) -> list[tuple[str, str]]:
    """(module, name) of all that can be imported from mlpeft."""
    stub = ast.parse((root / "mlpeft" / "__init__.pyi").read_text("utf-8"))
    return [
        (line.module, alias.name)
        for line in stub.body
        if isinstance(line, ast.ImportFrom) and line.module is not None
        for alias in line.names
    ]

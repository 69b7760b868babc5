"""YAML files and `a.b=c` overrides as plain dicts."""

from __future__ import annotations

import re
from typing import Any

import yaml

from mlpeft.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """As safe_load, but 1e-3 is a number (YAML 1.2), not a string (YAML 1.1)."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][-+]?\d+)$"
        r"|^[-+]?(?:\d[\d_]*\.[\d_]*|\.\d[\d_]*)$"
        r"|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)


_DAMAGED = (yaml.YAMLError, ValueError, RecursionError)
"""What parsing raises: ValueError for a 13th month, RecursionError for deep lists."""


def parse_yaml(text: str, source: str = "") -> dict[str, Any]:
    """Parse a YAML mapping; an empty document is an empty dict.

    Raises:
        ConfigError: If it is not YAML, or not a mapping.
    """
    try:
        tree = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except _DAMAGED as error:
        raise ConfigError([f"not valid YAML: {error}"], source) from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        kind = type(tree).__name__
        raise ConfigError(
            [f"expected sections such as 'meta_learning:', got a {kind}"], source
        )
    return tree


def override(tree: dict[str, Any], text: str) -> str | None:
    """Apply one `section.key=value`; return the problem, or None."""
    path, equals, value = text.partition("=")
    section, dot, key = path.strip().partition(".")
    if not (equals and dot and section and key):
        return f"--set {text}: expected section.key=value"
    branch = tree.setdefault(section, {})
    if not isinstance(branch, dict):
        return f"--set {text}: {section} is not a section"
    *parents, leaf = key.split(".")
    for parent in parents:
        branch = branch.setdefault(parent, {})
        if not isinstance(branch, dict):
            return f"--set {text}: {parent} has no keys"
    try:
        branch[leaf] = yaml.load(value, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except _DAMAGED:
        return f"--set {text}: the value is not valid YAML"
    return None

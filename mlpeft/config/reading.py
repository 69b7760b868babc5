"""YAML files and `a.b=c` overrides as plain dicts, and what is wrong with them."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel

from mlpeft.errors import ConfigError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_NODES = 100_000
"""Values of a document, those that an alias repeats counted each time."""


class _Loader(yaml.SafeLoader):
    """As safe_load, but 1e-3 is a number (YAML 1.2), not a string (YAML 1.1).

    Aliases of aliases make a few lines a document of any size, which nothing that
    looks at each of its values survives. So they are counted first.
    """

    def get_single_node(self) -> yaml.Node | None:
        """The document's root.

        Raises:
            ValueError: If it has more than `MOST_NODES`, or contains itself.
        """
        root: yaml.Node | None = super().get_single_node()
        if root is not None and _size(root, {}) > MOST_NODES:
            raise ValueError(f"its aliases make it more than {MOST_NODES} values")
        return root


def _size(node: yaml.Node, known: dict[int, float]) -> float:
    """Values in a node, with those of each alias; infinite if it contains itself."""
    if id(node) not in known:
        known[id(node)] = math.inf  # until it is known: its own part is itself
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in node.value for part in pair]
        known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(node)]


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][-+]?\d+)$"
        r"|^[-+]?(?:\d[\d_]*\.[\d_]*|\.\d[\d_]*)$"
        r"|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)


_MERGE = "tag:yaml.org,2002:merge"

_DAMAGED = (yaml.YAMLError, ValueError, RecursionError)
"""What parsing raises: ValueError for a 13th month, RecursionError for deep lists."""


def parse_yaml(text: str, source: str = "") -> dict[str, Any]:
    """Parse a YAML mapping; an empty document is an empty dict.

    Raises:
        ConfigError: If it is not YAML, not a mapping, or has a key twice.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
        repeated = list(_repeated_keys(node, set()))
        tree = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except _DAMAGED as error:
        raise ConfigError([f"not valid YAML: {error}"], source) from error
    if repeated:
        raise ConfigError(repeated, source)
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        kind = type(tree).__name__
        raise ConfigError(
            [f"expected sections such as 'meta_learning:', got a {kind}"], source
        )
    return tree


def _repeated_keys(node: yaml.Node | None, seen: set[int]) -> Iterator[str]:
    """Problems with keys that a mapping has twice: YAML would keep the last."""
    if node is None or id(node) in seen:  # an anchor may contain its own alias
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated_keys(item, seen)
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
            if key.value in lines:
                yield (
                    f"{key.value}: given twice, in line {lines[key.value]} and in line "
                    f"{line}; remove one"
                )
            lines[key.value] = line
        yield from _repeated_keys(value, seen)


def override(
    tree: dict[str, Any],
    text: str,
    takes_none: Callable[[str, str], bool] = lambda _section, _key: True,
) -> str | None:
    """Apply one `section.key=value`; return the problem, or None.

    Args:
        tree: Changed in place.
        text: The override.
        takes_none: Whether null is a value of a key of a section; of any other key it
            means that the key is not given.
    """
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
    if value.strip() in {"null", "~"} and not takes_none(section, key):
        del branch[leaf]
    return None


def describe(detail: Any, root: type[BaseModel]) -> str:
    """Turn a pydantic error into a line: the key's path, its value, what to do."""
    path = ".".join(str(part) for part in detail["loc"])
    kind, value = detail["type"], detail.get("input")
    if kind == "extra_forbidden":
        valid = _keys_at(detail["loc"][:-1], root)
        return f"{path}: unknown key; {nearest(str(detail['loc'][-1]), valid)}"
    message = detail["msg"].removeprefix("Value error, ")
    if not path or (kind == "value_error" and isinstance(value, dict)):
        return str(message)  # of several keys, which it names
    message = message[0].lower() + message[1:]
    hint = ""
    if kind == "literal_error" and isinstance(value, str):
        valid = re.findall(r"'([^']+)'", detail["ctx"]["expected"])
        hint = f"; {nearest(value, valid)}"
    elif kind == "list_type" and isinstance(value, str):
        hint = f"; write [{value}]"
    elif kind == "string_type" and value is not None:
        hint = "; put quotes around it to make it a string"
    elif kind == "path_type":
        message = "expected a path"
    return f"{path}: {message}, got {value!r}{hint}"


def _keys_at(location: tuple[Any, ...], root: type[BaseModel]) -> list[str]:
    """The valid keys of the section at a location, for "did you mean"."""
    model = root
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type):
            return []
        if not issubclass(field.annotation, BaseModel):
            return []
        model = field.annotation
    return list(model.model_fields)

"""One clear line for each problem of a configuration."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel

from mlpeft.errors import nearest


def describe(detail: Any, root: type[BaseModel]) -> str:
    """Turn a pydantic error into a line: the key's path, its value, what to do."""
    path = ".".join(str(part) for part in detail["loc"])
    kind, value = detail["type"], detail.get("input")
    if kind == "extra_forbidden":
        valid = _keys_at(detail["loc"][:-1], root)
        return f"{path}: unknown key; {nearest(str(detail['loc'][-1]), valid)}"
    message = detail["msg"].removeprefix("Value error, ")
    if not path:
        return str(message)
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

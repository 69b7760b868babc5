"""The reference of the configuration, from its pydantic sections."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}
KINDS = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
    "object": "keys and values",
}


def keys(root: Path) -> str:
    """Every key with its kind, its default and its meaning, in Markdown."""
    del root
    from mlpeft.config import RunConfig

    definitions = RunConfig.model_json_schema()["$defs"]
    defaults = RunConfig().to_dict()
    parts = []
    for section, field in RunConfig.model_fields.items():
        model = type(field.default)
        schema = definitions[model.__name__]["properties"]
        about = inspect.cleandoc(model.__doc__ or "").partition("\n")[0]
        parts.append(f"## {section}\n\n{about}")
        for key, entry in model.model_fields.items():
            default = json.dumps(defaults[section][key])
            kind = _kind(schema[key], definitions)
            meaning = (entry.description or "").rstrip(".").replace("<", "&lt;")
            parts.append(
                f"### {section}.{key}\n\n{meaning[:1].upper()}{meaning[1:]}.\n\n"
                f"*Default* `{default}` · {kind}"
            )
    return "\n\n".join(parts)


def _kind(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """In words what a key takes."""
    if "$ref" in schema:
        return _kind(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        kinds = [_kind(each, definitions) for each in schema["anyOf"]]
        return ", or ".join(dict.fromkeys(kinds))
    if "enum" in schema:
        return "one of " + ", ".join(f"`{each}`" for each in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        inner = schema.get("items") or {}
        return f"list of {_kind(inner, definitions)}" if inner else "list"
    kind = KINDS.get(schema.get("type", ""), "any value")
    bounds = [
        f"{words} {schema[key]}" for key, words in BOUNDS.items() if key in schema
    ]
    return " ".join([kind, " and ".join(bounds)]).strip()

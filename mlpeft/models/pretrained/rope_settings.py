"""Rotary positions as transformers 5 writes them, under the names that mlx-lm reads.

Since version 5 a config.json has `rope_parameters` in place of `rope_theta`,
`rope_scaling` and `partial_rotary_factor`. Of mlx-lm's kinds many know the older names
alone, and would take their default base without a word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES = ("rope_theta", "partial_rotary_factor")


def older_rope_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Keys to add to a config.json, so that every kind finds its rotary positions.

    Args:
        settings: A config.json. What it has under an older name stays; parameters of
            each type of layer have no older name.
    """
    added: dict[str, Any] = {}
    rope = settings.get("rope_parameters")
    if isinstance(rope, dict) and "rope_theta" in rope:
        added = {name: rope[name] for name in _NAMES if rope.get(name) is not None}
        kind = rope.get("rope_type", "default")
        if kind != "default":
            added["rope_scaling"] = {"type": kind} | rope
    added = {name: value for name, value in added.items() if settings.get(name) is None}
    text = settings.get("text_config")
    if isinstance(text, dict) and (inner := older_rope_settings(text)):
        added["text_config"] = text | inner
    return added

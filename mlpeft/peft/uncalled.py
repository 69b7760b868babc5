"""Linear layers that their module never calls: it reads the weight and goes on alone.

What wraps such a layer has no effect, or breaks the model where it reads the weight.
"""

from __future__ import annotations

import inspect
import re
from functools import lru_cache
from typing import TYPE_CHECKING

import mlx.nn as nn

if TYPE_CHECKING:
    from collections.abc import Iterable


def uncalled(model: nn.Module, paths: Iterable[str]) -> dict[str, str]:
    """The layers among these that their module only reads, by the module's class.

    Told from the source of the class, not by a call: models keep what they compute from
    such a weight. A class without source is taken to call its layers.

    Args:
        model: Any module.
        paths: Of layers in it.
    """
    modules = dict(model.named_modules())
    found = {}
    for path in paths:
        parent, _, name = path.rpartition(".")
        owner: type = type(modules.get(parent))
        if _only_reads(owner, name):
            found[path] = owner.__name__
    return found


@lru_cache(maxsize=4096)
def _only_reads(owner: type, name: str) -> bool:
    """Whether a class reads the weight of `self.name`, and uses it in no other way."""
    mention = re.compile(
        rf"\bself\.{re.escape(name)}\b(?P<read>\.weight\b)?(?P<set> =)?"
    )
    uses = [use for use in mention.finditer(_source(owner)) if not use["set"]]
    return bool(uses) and all(use["read"] for use in uses)


@lru_cache(maxsize=1024)
def _source(owner: type) -> str:
    """The source of a module's class and its bases; "" of others."""
    if not issubclass(owner, nn.Module):
        return ""
    bases = owner.__mro__[: owner.__mro__.index(nn.Module)]
    return "".join(_own_source(base) for base in bases)


def _own_source(cls: type) -> str:
    try:
        return inspect.getsource(cls)
    except (OSError, TypeError):  # made at runtime, or without a file
        return ""

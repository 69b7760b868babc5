"""The one door to every method: wrap a model, merge it again.

After `wrap`, the module's trainable leaves are what is meta-learned, adapted and sent
over the wire; everything else is frozen and stays byte for byte what it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlx.utils import tree_flatten

from mlpeft.config import PeftSection, checked
from mlpeft.errors import ConfigError
from mlpeft.peft.bitfit import BitFit
from mlpeft.peft.bottleneck import Bottleneck
from mlpeft.peft.dora import DoRA
from mlpeft.peft.ia3 import IA3
from mlpeft.peft.lora import LoRA
from mlpeft.peft.prefix import Prefix
from mlpeft.peft.prompt import Prompt
from mlpeft.peft.targets import inside
from mlpeft.peft.whole import Full, Head

if TYPE_CHECKING:
    from collections.abc import Mapping

    import mlx.nn as nn

    from mlpeft.peft.method import Method

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Full(),
        Head(),
        BitFit(),
        LoRA(),
        DoRA(),
        IA3(),
        Bottleneck(),
        Prompt(),
        Prefix(),
    )
}
"""By `peft.method`; `none`, which changes nothing, is not among them."""


def wrap(model: nn.Module, section: PeftSection | str, **settings: Any) -> nn.Module:
    """Freeze a model but for `train_also`, and give it the method's leaves.

        wrap(model, "lora", rank=8)

    New leaves are drawn from MLX's generator (`mx.random.seed`). A leaf that was frozen
    stays frozen.

    Args:
        model: Any module; changed in place.
        section: The `peft` section, or the name of a method; with `none` nothing is
            done.
        **settings: With the name of a method, other keys of the section.

    Returns:
        The model that was given.

    Raises:
        ConfigError: If a setting is not a possible one, no layer fits `keys`, or
            nothing would be left to learn.
    """
    section = _section(section, settings)
    if section.method == "none":
        return model
    method = METHODS[section.method]
    kept = method.keeps(model, section)
    for path, module in model.named_modules():
        if path not in kept and not inside(path, section.train_also):
            module.freeze(recurse=False)
    method.apply(model, section)
    if not tree_flatten(model.trainable_parameters()):
        raise ConfigError(
            f"peft.method: with {section.method} nothing is left to meta-learn: "
            f"peft.train_also {section.train_also} names no trainable module; take "
            "another method, or model.head: learned"
        )
    return model


def merge(model: nn.Module, section: PeftSection | str) -> nn.Module:
    """Fold a method's leaves into the base, in place.

    Args:
        model: What `wrap` was given, with any values in its leaves.
        section: What `wrap` was given.

    Returns:
        The model that was given.

    Raises:
        ConfigError: If no plain model computes the same.
    """
    section = _section(section, {})
    if section.method == "none":
        return model
    method = METHODS[section.method]
    if not method.merges:
        names = ", ".join(name for name, other in METHODS.items() if other.merges)
        raise ConfigError(
            f"peft.method: what {section.method} adds is no part of any plain layer, "
            f"so it cannot be merged; keep the adapter, or take one of {names}"
        )
    method.merge(model)
    return model


def _section(section: PeftSection | str, settings: Mapping[str, Any]) -> PeftSection:
    if isinstance(section, PeftSection):
        if settings:
            raise TypeError(
                f"wrap got a section and {', '.join(settings)}; put these into the "
                "section, or give the name of a method"
            )
        return section
    return checked(PeftSection, method=section, **settings)

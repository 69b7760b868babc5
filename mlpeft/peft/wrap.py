"""Wrap a model with a PEFT method, and merge it again.

After `wrap`, only the module's trainable leaves are meta-learned, adapted and sent over
the network. Everything else is frozen and keeps its bytes.
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
"""By `peft.method`, without `none`, which changes nothing."""


def wrap(model: nn.Module, section: PeftSection | str, **settings: Any) -> nn.Module:
    """Freeze a model except `train_also`, and add the method's leaves.

        wrap(model, "lora", rank=8)

    New leaves are sampled from MLX's generator (`mx.random.seed`). A leaf that was
    frozen stays frozen.

    Args:
        model: Any module; changed in place.
        section: The `peft` section, or the name of a method; `none` changes nothing.
        **settings: With the name of a method, other keys of the section.

    Returns:
        The same model.

    Raises:
        ConfigError: If a setting is invalid, no layer matches `keys`, or nothing would
            be trainable.
    """
    section = _section(section, settings)
    if section.method == "none":
        return model
    method = METHODS[section.method]
    unfrozen = method.unfrozen(model, section)
    for path, module in model.named_modules():
        if path not in unfrozen and not inside(path, section.train_also):
            module.freeze(recurse=False)
    method.apply(model, section)
    if not tree_flatten(model.trainable_parameters()):
        raise ConfigError(
            f"peft.method: with {section.method} nothing is left to meta-learn: "
            f"peft.train_also {section.train_also} names no trainable module; use "
            "another method, or model.head: learned"
        )
    return model


def merge(model: nn.Module, section: PeftSection | str) -> nn.Module:
    """Merge a method's leaves into the base, in place.

    Args:
        model: A model that `wrap` has changed, with any values in its leaves.
        section: The section it was wrapped with.

    Returns:
        The model that was given.

    Raises:
        ConfigError: If there is no equivalent plain model.
    """
    section = _section(section, {})
    if section.method == "none":
        return model
    method = METHODS[section.method]
    if not method.merges:
        mergeable = ", ".join(name for name, entry in METHODS.items() if entry.merges)
        raise ConfigError(
            f"peft.method: {section.method} has no equivalent plain layer, so it "
            f"cannot be merged; keep the adapter, or use one of {mergeable}"
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

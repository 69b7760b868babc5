"""The one door to every method: wrap a model, merge it again.

After `wrap`, the module's trainable leaves are what is meta-learned, adapted and sent
over the wire; everything else is frozen and stays byte for byte what it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mlx.utils import tree_flatten

from mlpeft.errors import ConfigError
from mlpeft.peft import bitfit, lora
from mlpeft.peft.targets import matches

if TYPE_CHECKING:
    import mlx.nn as nn

    from mlpeft.config import PeftSection


class Method(Protocol):
    """A way to adapt a frozen model by few leaves."""

    def apply(self, model: nn.Module, section: PeftSection) -> None:
        """Make the method's leaves: the only trainable ones beside `train_also`."""
        ...

    def merge(self, model: nn.Module) -> None:
        """Fold the leaves into the base: the same function, without the method."""
        ...


METHODS: dict[str, Method] = {"lora": lora, "bitfit": bitfit}
"""By `peft.method`; `head` has no leaves of its own, `none` changes nothing."""


def wrap(model: nn.Module, section: PeftSection) -> None:
    """Freeze a model but for `train_also`, and give it the method's leaves.

    New leaves are drawn from MLX's generator. A leaf that was frozen stays frozen.

    Args:
        model: Any module; changed in place.
        section: The `peft` section; with method `none` nothing is done.

    Raises:
        ConfigError: If no layer fits `keys`, or nothing would be left to learn.
    """
    if section.method == "none":
        return
    for path, module in model.named_modules():
        if not _kept(path, section):
            module.freeze(recurse=False)
    if section.method != "head":
        METHODS[section.method].apply(model, section)
    if not tree_flatten(model.trainable_parameters()):
        raise ConfigError(
            f"peft.method: with {section.method} nothing is left to meta-learn: "
            f"peft.train_also {section.train_also} names no trainable module; take "
            "another method, or model.head: learned"
        )


def merge(model: nn.Module, section: PeftSection) -> None:
    """Fold a method's leaves into the base, in place.

    Args:
        model: What `wrap` was given, with any values in its leaves.
        section: What `wrap` was given.
    """
    if section.method in METHODS:
        METHODS[section.method].merge(model)


def _kept(path: str, section: PeftSection) -> bool:
    """Whether a module, or one that it is part of, is named by `train_also`."""
    parts = path.split(".")
    prefixes = (".".join(parts[: end + 1]) for end in range(len(parts)))
    return any(matches(prefix, section.train_also) for prefix in prefixes)

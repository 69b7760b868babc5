"""A head on the last layer of an encoder, for formats that hold no other.

Heads on several layers or on n-grams see what only an ONNX graph can hold. In another
format one that is fitted anew to the adapter's own examples takes their place.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mlpeft.adapters.classifier import Classifier
from mlpeft.adapters.head_fit import HeadSettings, with_fitted_head
from mlpeft.errors import ConfigError, counted
from mlpeft.exchange.files import HEAD, has_head

if TYPE_CHECKING:
    from mlpeft.adapters.adapter import Adapter
    from mlpeft.heads.examples import Examples

NOTE: Final = "note"
"""The key of `Adapter.history` with a sentence about its head."""


def with_last_layer_head(adapter: Adapter, examples: Examples | None) -> Adapter:
    """The adapter, with another head if its own sees more than the last layer.

    Args:
        adapter: To be exported.
        examples: What it was fitted to; None: they are not known.

    Returns:
        The adapter itself, or one whose `history["note"]` says what was replaced, and
        what that costs.

    Raises:
        ConfigError: If its head sees more, and there are no examples.
    """
    if not isinstance(adapter, Classifier) or not has_head(adapter):
        return adapter
    embed = adapter.embed
    columns = embed.head.weight.shape[1]
    if columns <= embed.last_dims:
        return adapter
    seen = "character n-grams" if columns > embed.layers_dims else "several layers"
    if examples is None:
        raise ConfigError(
            f"head: it sees {seen}, and this format has the encoder's last layer "
            "alone; export with --format onnx, give the folder that TextClassifier.save"
            ' wrote, or fit the classifier again with --head logistic (head="logistic")'
        )
    fitted = _fitted_anew(adapter, examples)
    kind, other = adapter.history["head"], fitted.history["head"]
    count = counted(fitted.history["examples"], "example")
    note = (
        f"in place of the head {kind}, which sees {seen}, there is one on the "
        f"encoder's last layer, {other}, fitted to the same {count}; "
        f"{_cost(adapter, fitted)}"
    )
    return replace(fitted, history=fitted.history | {NOTE: note})


def _fitted_anew(adapter: Classifier, examples: Examples) -> Classifier:
    settings = adapter.history.get("settings", {})
    asked = {
        key: settings[key]
        for key in ("class_weight", "reject_below", "none_label")
        if key in settings
    }
    leaves = {k: leaf for k, leaf in adapter.leaves.items() if not k.startswith(HEAD)}
    labels = tuple(label for label in adapter.labels if label != adapter.none_label)
    headless = replace(adapter, labels=labels, none_label=None, leaves=leaves)
    return with_fitted_head(headless, examples.of_last_layer(), HeadSettings(**asked))


def _cost(before: Classifier, after: Classifier) -> str:
    shares = [
        one.history.get("held_out_accuracy", {}).get(one.history["head"])
        for one in (before, after)
    ]
    if None in shares:
        return "there are too few to tell what that costs"
    return (
        f"{100 * shares[1]:.1f} % of held-out examples are right instead of "
        f"{100 * shares[0]:.1f} %"
    )

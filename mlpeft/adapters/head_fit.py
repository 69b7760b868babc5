"""Gives an adapter a head that is fitted to embedded examples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from mlpeft.errors import ConfigError, DataError, nearest
from mlpeft.heads.auto import KINDS, LAYERS, FittedHead, calibrated, fit_head
from mlpeft.heads.rejection import Rejection, choose_rejection, rejection, with_none
from mlpeft.heads.unlabelled import fit_with_unlabelled, is_no_worse

if TYPE_CHECKING:
    import numpy as np

    from mlpeft.adapters.classifier import Classifier
    from mlpeft.heads.examples import Examples
    from mlpeft.heads.linear import LinearHead

AUTO: Final = "auto"
BALANCED: Final = "balanced"
UNLABELLED: Final = "unlabelled"
_REJECTING: Final = tuple(kind for kind in KINDS[1:] if kind != LAYERS)
"""Kinds of head that may replace the chosen one if they reject better; of `layers`,
`mlpeft.heads.auto` says why it may not."""


@dataclass(frozen=True, slots=True)
class HeadSettings:
    """How a head is fitted; the meaning of each is that of `TextClassifier`.

    Raises:
        ConfigError: Listing every setting that is invalid.
    """

    head: str = AUTO
    class_weight: str | None = None
    reject_below: float | str | None = None
    none_label: str = ""

    def __post_init__(self) -> None:
        problems = []
        if self.head not in KINDS:
            problems.append(
                f"head: unknown {self.head!r}; {nearest(str(self.head), KINDS)}"
            )
        if self.class_weight not in (None, BALANCED):
            problems.append(
                f"class_weight: got {self.class_weight!r}, expected {BALANCED!r} or "
                "None"
            )
        below = self.reject_below
        is_share = isinstance(below, int | float) and 0 <= below <= 1
        if below not in (None, AUTO) and not is_share:
            problems.append(
                f"reject_below: got {below!r}, expected {AUTO!r}, a number from 0 to "
                "1, or None"
            )
        if problems:
            raise ConfigError(problems)


def with_fitted_head(
    adapter: Classifier,
    examples: Examples,
    settings: HeadSettings,
    unlabelled: np.ndarray | None = None,
) -> Classifier:
    """The adapter with a head, and a history that says what was fitted.

    Args:
        adapter: Its `labels` name the columns of the examples' targets.
        examples: What to fit to.
        settings: How.
        unlabelled: (m, dims) unit vectors of texts without labels.

    Raises:
        DataError: If there are too few labels.
    """
    classes = examples.targets.shape[1]
    if classes < (1 if adapter.multi_label else 2):
        raise DataError(
            f"expected examples of at least two labels, got "
            f"{int(examples.real.sum())} of {classes}; add examples of another "
            "label, or describe one (label_descriptions, --descriptions)"
        )
    weighed = examples.balanced() if settings.class_weight == BALANCED else examples
    fitted = fit_head(weighed, settings.head, multi_label=adapter.multi_label)
    if adapter.multi_label or unlabelled is None or not len(unlabelled):
        more = None
    else:
        best = fitted.accuracy.get(fitted.kind, 0.0)
        more = unlabelled if is_no_worse(weighed, unlabelled, best) else None
    head, kind = fitted.head, fitted.kind
    if more is not None:
        head, kind = fit_with_unlabelled(weighed, more), UNLABELLED
    found = None
    asked = settings.reject_below == AUTO and not adapter.multi_label
    if asked and settings.none_label not in adapter.labels:
        found = _rejection(weighed, fitted, settings.head, more)
    if found is not None:
        if found.kind != kind:
            head, kind = calibrated(weighed, found.kind, fitted.factors), found.kind
        head = with_none(head, found.logit)
    history = {
        "examples": int(examples.real.sum()),
        "label_names": bool((~examples.real).any()),
        "head": kind,
        "held_out_accuracy": fitted.accuracy,
        "unlabelled": 0 if unlabelled is None else len(unlabelled),
    }
    return _with(adapter, head, settings, history, rejects=found is not None)


def _rejection(
    examples: Examples, fitted: FittedHead, kind: str, unlabelled: np.ndarray | None
) -> Rejection | None:
    """Where to reject, and with which head, if any kind will do."""
    if unlabelled is not None:
        fit = partial(fit_with_unlabelled, unlabelled=unlabelled)
        return rejection(examples, UNLABELLED, fit)
    if kind != AUTO:
        return choose_rejection(examples, fitted, (kind,))
    kinds = [one for one in KINDS[1:] if one in (fitted.kind, *_REJECTING)]
    return choose_rejection(examples, fitted, kinds)


def _with(
    adapter: Classifier,
    head: LinearHead,
    settings: HeadSettings,
    history: dict[str, object],
    *,
    rejects: bool,
) -> Classifier:
    below = settings.reject_below
    is_share = not adapter.multi_label and below is not None and below != AUTO
    none = settings.none_label if rejects else None
    labels = (*adapter.labels, none) if none is not None else adapter.labels
    found = replace(
        adapter,
        config=adapter.config.with_changes(
            task_distribution={"num_classes": max(len(labels), 2)}
        ),
        labels=labels,
        leaves=adapter.leaves | {"head.weight": head.weight, "head.bias": head.bias},
        reject_below=float(below) if is_share and below is not None else 0.0,
        none_label=none,
        history=adapter.history | history,
        _model=None,
        _merged=None,
    )
    # The base and the adapter are as they were: only the head is new.
    found.take_encoder(adapter)
    return found

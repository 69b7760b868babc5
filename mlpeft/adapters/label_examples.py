"""Labelled texts as examples, with what is known of the labels themselves.

The name of a label, in words, and its descriptions are examples of it that are never
held out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mlpeft.errors import DataError
from mlpeft.heads.examples import Examples
from mlpeft.tasks.families.intents.tokens import label_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlpeft.adapters.embedder import Embedder

    Descriptions = Mapping[str, str | Sequence[str]]


class TextExamples(NamedTuple):
    """Texts that a head is fitted to, before they are embedded.

    Attributes:
        texts: The user's, and after them names and descriptions of labels.
        targets: (n, labels) float32; 1 where a text has the label.
        real: (n,) whether a text is the user's.
    """

    texts: list[str]
    targets: np.ndarray
    real: np.ndarray

    def embedded(self, embed: Embedder) -> Examples:
        """The examples, with all that a head may see of them."""
        weights = np.ones(len(self.texts), np.float32)
        dims = (embed.last_dims, embed.layers_dims)
        x = embed.features(self.texts)
        return Examples(x, self.targets, weights, self.real, *dims)

    def some(self, rows: np.ndarray) -> TextExamples:
        """Some of the examples."""
        texts = [self.texts[row] for row in rows]
        return TextExamples(texts, self.targets[rows], self.real[rows])


def with_label_texts(
    texts: Sequence[str],
    rows: Sequence[Sequence[str]],
    labels: Sequence[str],
    described: Descriptions,
    *,
    new: Sequence[str],
    named: bool,
) -> TextExamples:
    """Texts, and after them the names and descriptions of new labels.

    Args:
        texts: The user's.
        rows: The labels of each text.
        labels: All labels, in the order of the columns of the targets.
        described: Descriptions by label.
        new: The labels that no other examples are known of.
        named: Whether the name of a label, in words, is one more example.

    Raises:
        DataError: If there is nothing to learn a label from.
    """
    place = {label: number for number, label in enumerate(labels)}
    has_examples = {label for row in rows for label in row}
    extra: list[str] = []
    of_label: list[int] = []
    for label in new:
        own = _label_texts(label, described.get(label, ()), named=named)
        if not own and label not in has_examples:
            raise DataError(
                f"the label {label!r} has no examples and no words; describe it in "
                "label_descriptions"
            )
        extra += own
        of_label += [place[label]] * len(own)
    count = len(texts) + len(extra)
    targets = np.zeros((count, len(labels)), np.float32)
    for number, row in enumerate(rows):
        targets[number, [place[label] for label in row]] = 1.0
    targets[len(texts) + np.arange(len(extra)), of_label] = 1.0
    return TextExamples([*texts, *extra], targets, np.arange(count) < len(texts))


def joined(
    old: Examples, old_labels: Sequence[str], new: Examples, labels: Sequence[str]
) -> Examples:
    """Examples and later ones, which may have more labels.

    Args:
        old: With the columns `old_labels`.
        old_labels: In their order.
        new: With the columns `labels`.
        labels: In their order; all of `old_labels` are among them.
    """
    if not old.last_dims:  # a folder of an earlier version has the last layer alone
        new = new.narrowed(old.x.shape[1])
    targets = np.zeros((len(old.x), len(labels)), np.float32)
    targets[:, [list(labels).index(label) for label in old_labels]] = old.targets
    return Examples(
        np.concatenate([old.x, new.x]),
        np.concatenate([targets, new.targets]),
        np.concatenate([old.weights, new.weights]),
        np.concatenate([old.real, new.real]),
        old.last_dims,
        old.layers_dims,
    )


def _label_texts(
    label: str, described: str | Sequence[str], *, named: bool
) -> list[str]:
    """Texts that say what a label means."""
    own = [described] if isinstance(described, str) else list(described)
    own = [text for text in own if text.strip()]
    return [*own, label_text(label)] if named and label_text(label) else own

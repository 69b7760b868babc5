"""Embedded examples, and their division into what is fitted and what is held out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mlpeft.heads.linear import narrowed

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

FOLDS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Embedded examples of some classes.

    Attributes:
        x: (n, dims) float32 unit vectors.
        targets: (n, classes) float32; 1 where an example has the label, else 0.
        weights: (n,) weight of each example in a fit.
        real: (n,) whether it is an example; else the name of a label, or a description
            of it, which is fitted but never scored.
        last_dims: How many columns, the first, are of the encoder's last layer; 0: all.
        layers_dims: How many, with these, are of its layers; the rest are of character
            n-grams; 0: all.
    """

    x: npt.NDArray[np.float32]
    targets: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    real: npt.NDArray[np.bool_]
    last_dims: int = 0
    layers_dims: int = 0

    @classmethod
    def of(
        cls,
        x: np.ndarray,
        y: np.ndarray,
        classes: int,
        *,
        names: int = 0,
        balanced: bool = False,
        last_dims: int = 0,
        layers_dims: int = 0,
    ) -> Examples:
        """Examples of one label each.

        Args:
            x: (n, dims) unit vectors.
            y: (n,) class indices.
            classes: The number of classes.
            names: How many of the last rows are names of labels.
            balanced: Whether all classes weigh the same, whatever their number of
                examples.
            last_dims: See the attribute.
            layers_dims: Likewise.
        """
        targets = np.eye(classes, dtype=np.float32)[y]
        real = np.arange(len(y)) < len(y) - names
        ones = np.ones(len(y), np.float32)
        dims = (last_dims, layers_dims)
        examples = cls(x.astype(np.float32), targets, ones, real, *dims)
        return examples.balanced() if balanced else examples

    def balanced(self) -> Examples:
        """The same with weights under which all classes have the same sum; mean 1."""
        counts = np.maximum(self.targets.sum(axis=0), 1.0)
        weights = (self.targets / counts).max(axis=1)
        return replace(self, weights=(weights / weights.mean()).astype(np.float32))

    def __getitem__(self, rows: np.ndarray) -> Examples:
        """Some of the examples."""
        return Examples(
            self.x[rows],
            self.targets[rows],
            self.weights[rows],
            self.real[rows],
            self.last_dims,
            self.layers_dims,
        )

    @property
    def has_layers(self) -> bool:
        """Whether the vectors are of several layers of the encoder."""
        return bool(0 < self.last_dims < (self.layers_dims or self.x.shape[1]))

    @property
    def has_ngrams(self) -> bool:
        """Whether the vectors are of character n-grams, too."""
        return bool(0 < self.layers_dims < self.x.shape[1])

    def of_last_layer(self) -> Examples:
        """The same with the vectors of the last layer alone."""
        return self.narrowed(self.last_dims) if self.last_dims else self

    def of_layers(self) -> Examples:
        """The same without n-grams."""
        return self.narrowed(self.layers_dims) if self.has_ngrams else self

    def narrowed(self, dims: int) -> Examples:
        """The same with vectors of the first `dims` columns."""
        return replace(
            self,
            x=narrowed(self.x, dims).astype(np.float32),
            last_dims=min(self.last_dims, dims),
            layers_dims=min(self.layers_dims, dims),
        )

    def of_known_classes(self) -> Examples:
        """The same without the columns of classes that have no example.

        A logistic head pushes down the logits of such classes, and so lifts the others.
        """
        return replace(self, targets=self.targets[:, self.targets.any(axis=0)])

    @property
    def y(self) -> np.ndarray:
        """(n,) the class of each example, where each has one label."""
        classes: np.ndarray = self.targets.argmax(axis=1)
        return classes

    def folds(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows to fit and rows to score, as often as there are folds.

        The examples of a class go round the folds, so that each fold holds out as
        evenly as can be. An example is scored only where its class keeps another row.
        """
        place = np.zeros(len(self.x), int)
        for column in self.targets.T:
            rows = np.flatnonzero((column > 0) & self.real)
            place[rows] = np.arange(len(rows))
        most = int(place[self.real].max(initial=0)) + 1
        for fold in range(min(FOLDS, most) if most > 1 else 1):
            held = self.real & (place % FOLDS == fold)
            kept = self.targets[~held].any(axis=0)
            scored = held & (self.targets @ ~kept == 0)
            if scored.any():
                yield np.flatnonzero(~held), np.flatnonzero(scored)

    def folds_of_classes(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows to fit and the real rows of classes that the fit does not know."""
        classes = self.targets.shape[1]
        folds = min(FOLDS, classes)
        for fold in range(folds):
            left_out = np.arange(classes) % folds == fold
            held = self.targets[:, left_out].any(axis=1)
            kept = self.targets[~held].any(axis=0).sum()
            if kept > 1 and (held & self.real).any():
                yield np.flatnonzero(~held), np.flatnonzero(held & self.real)

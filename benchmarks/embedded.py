"""Embeds each text once, however often a benchmark asks for it.

Vectors are kept in a file for each start, so that another draw of examples, or another
head, costs no encoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.adapters.starts import find_start

# isort: split
import numpy as np

from mlpeft.adapters.classifier import Classifier

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DIMS = {"last_dims": 384, "layers_dims": 4 * 384}
"""Of `Examples`, of all-MiniLM-L6-v2."""
AT_ONCE = 2000
"""Texts after which what is done is written."""


class Embedded:
    """From texts to all that a head may see of them, under a start.

    Args:
        start: As `TextClassifier` takes it.
        folder: Where vectors are kept.
        name: Of the file, one for each start.
        base: As `TextClassifier` takes it.
    """

    def __init__(
        self, start: str, folder: Path, name: str = "none", base: str | None = None
    ) -> None:
        self._start, self._base = start, base
        self._file = folder / f"features-{name}.npz"
        folder.mkdir(parents=True, exist_ok=True)
        self._known: dict[str, np.ndarray] = {}
        if self._file.is_file():
            with np.load(self._file) as kept:
                self._known = dict(zip(kept["texts"].tolist(), kept["x"], strict=True))

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """(n, dims) float32 vectors."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        for first in range(0, len(new), AT_ONCE):
            part = new[first : first + AT_ONCE]
            self._known |= dict(zip(part, self._encode(part), strict=True))
            self._save()
        return np.stack([self._known[text] for text in texts])

    def _encode(self, texts: Sequence[str]) -> np.ndarray:
        found = find_start(self._start, self._base)
        if not isinstance(found, Classifier):
            found = Classifier(
                config=found.config, leaves=found.leaves, history=found.history
            )
        return found.embed.features(texts)

    def _save(self) -> None:
        partial = self._file.with_suffix(".partial.npz")
        np.savez(
            partial,
            texts=np.array(list(self._known)),
            x=np.stack(list(self._known.values())),
        )
        partial.replace(self._file)

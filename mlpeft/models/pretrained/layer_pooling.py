"""Vectors of several layers of an encoder, as one unit vector.

`unit([last, w lower_1, w lower_2, ...])`: lower layers are closer to the words of a
text than the last one, and a head on all of them can use both. The last layer comes
first, so a head of fewer columns sees it alone; `mlpeft.heads.linear.narrowed` makes
that part a unit vector again.
"""

from __future__ import annotations

from typing import Final

LOWER_WEIGHT: Final = 0.5
"""w, chosen on training texts (docs/intents.md). Inner products of each lower layer
count a quarter beside those of the last."""


def lower_layers(count: int) -> tuple[int, ...]:
    """Of an encoder with `count` layers: after how many to pool, besides the last.

    The embeddings (0), a third and two thirds of the layers.
    """
    return tuple(sorted({0, count // 3, 2 * count // 3}))

"""Whether two machines would compute the same numbers, in one line of text."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from mlpeft.datasets.pretrained import weights_digest

if TYPE_CHECKING:
    from mlpeft.meta.runner import ShardRunner


def of(runner: ShardRunner) -> str:
    """SHA-256, hexadecimal, over all that decides a run's bits.

    That is the resolved configuration (without what a run may change), the leaves of
    theta and the digests of the data sets and of pretrained weights. Versions are
    compared by themselves, so that a mismatch can be named.
    """
    from mlpeft.runs import identity

    weights = runner.config.model.weights
    parts = {
        "config": identity(runner.config),
        "leaves": runner.schema,
        "data": runner.tasks.digests(),
        "base": weights_digest(weights) if weights is not None else None,
    }
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()

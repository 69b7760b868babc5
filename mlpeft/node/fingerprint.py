"""Whether two machines would compute the same numbers, in one line of text."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from mlpeft.datasets.digest import file_sha256
from mlpeft.datasets.pretrained import weight_files

if TYPE_CHECKING:
    from mlpeft.meta.runner import ShardRunner


def of(runner: ShardRunner) -> str:
    """SHA-256, hexadecimal, over all that decides a run's bits.

    That is the resolved configuration (without what a run may change), the leaves of
    theta and the digests of the data sets and of pretrained weights. Versions are
    compared by themselves, so that a mismatch can be named.
    """
    from mlpeft.runs import identity

    parts = {
        "config": identity(runner.config),
        "leaves": runner.schema,
        "data": runner.tasks.digests(),
        "base": _base_digest(runner.config.model.weights),
    }
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _base_digest(weights: str | None) -> str | None:
    """SHA-256 of the pretrained weights, or of several files'; None: there are none."""
    if weights is None:
        return None
    digests = [file_sha256(file) for file in weight_files(weights)]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()

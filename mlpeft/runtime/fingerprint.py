"""Whether two machines compute the same numbers: versions, and a digest of the run."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from typing import TYPE_CHECKING

from mlpeft import __version__
from mlpeft.cluster.protocol import PROTOCOL_VERSION
from mlpeft.cluster.validation import Versions

if TYPE_CHECKING:
    from mlpeft.training.runner import ShardRunner


def run_fingerprint(runner: ShardRunner) -> str:
    """SHA-256, hexadecimal, over all that decides a run's bits.

    That is the resolved configuration (without what a run may change), the leaves of
    theta and the digests of the data sets and of pretrained weights. Versions are
    compared by themselves, so that a mismatch can be named.
    """
    from mlpeft.models.pretrained.source import weights_digest
    from mlpeft.training.run_folder import identity

    weights = runner.config.model.weights
    parts = {
        "config": identity(runner.config),
        "leaves": runner.schema,
        "data": runner.tasks.digests(),
        "base": weights_digest(weights) if weights is not None else None,
    }
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def own_versions() -> Versions:
    """The versions of this process. Does not import MLX."""
    return Versions(PROTOCOL_VERSION, __version__, metadata.version("mlx"))

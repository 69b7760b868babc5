"""The versions that both sides of a cluster must share."""

from __future__ import annotations

from importlib import metadata

from mlpeft import __version__
from mlpeft.cluster.joining import Versions
from mlpeft.rpc.wire import PROTOCOL_VERSION


def here() -> Versions:
    """The versions of this process. Does not import MLX."""
    return Versions(PROTOCOL_VERSION, __version__, metadata.version("mlx"))

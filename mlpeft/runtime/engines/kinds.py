"""Which engines there are. Imports none of them."""

from __future__ import annotations

from enum import StrEnum
from importlib.util import find_spec
from typing import Final

from mlpeft.runtime.engines.engine import EngineError


class EngineKind(StrEnum):
    """An engine that rounds can be computed on; its extra has the same name."""

    DASK = "dask"
    RAY = "ray"


_PACKAGES: Final = {EngineKind.DASK: "distributed", EngineKind.RAY: "ray"}


def check_installed(kind: EngineKind) -> None:
    """Check that an engine's package is there.

    Raises:
        EngineError: Saying how to install it.
    """
    package = _PACKAGES[kind]
    if find_spec(package) is None:
        raise EngineError(
            f"--engine {kind} needs the package {package!r}, which is not installed "
            f"here; run: pip install 'mlpeft[{kind}]'"
        )

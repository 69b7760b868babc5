"""What the executor asks of an engine, whichever it is."""

from __future__ import annotations

import socket
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from mlpeft.errors import MlpeftError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mlpeft.params import ParamTree
    from mlpeft.runtime.engines.shard import Reply
    from mlpeft.work import Shard

ONE_THREAD: Final = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


def worker_environment() -> dict[str, str]:
    """Variables of a worker on this machine: it has a core, and its own kernel cache.

    TMPDIR names this process's cache by now (`private_compile_cache`).
    """
    return ONE_THREAD | {"TMPDIR": tempfile.gettempdir()}


CONNECT_S: Final = 10.0
"""How long an engine may take to answer."""


class EngineError(MlpeftError):
    """An engine that is not there, has no workers, or has ended."""


class NoWorkerError(EngineError):
    """There is no worker at the moment."""


def check_reachable(address: str) -> None:
    """Check that somebody listens at `[SCHEME://]HOST:PORT`.

    The engines' own clients wait longer, and some print meanwhile.

    Raises:
        OSError: If nobody does.
        ValueError: If it is no such address.
    """
    parts = urlsplit(address if "://" in address else f"//{address}")
    if not parts.hostname or parts.port is None:
        raise ValueError("expected HOST:PORT")
    socket.create_connection((parts.hostname, parts.port), CONNECT_S).close()


@dataclass(frozen=True, slots=True)
class Lost:
    """A shard whose result will not come: data that it needs went with a worker."""

    reason: str


@dataclass(frozen=True, slots=True)
class Broken:
    """A shard that the engine has given up after all its attempts."""

    reason: str


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a shard.

    Attributes:
        shard: Its index.
        result: What came of it.
    """

    shard: int
    result: Reply | Lost | Broken


class Engine(Protocol):
    """Computes shards on its workers, and tries again itself what fails there.

    Attributes:
        name: For people.
        address: Where it is, for people.
    """

    name: str
    address: str

    def workers(self) -> Sequence[str]:
        """Those that are there, as `Reply.worker` names them.

        Raises:
            EngineError: If the engine has ended.
        """
        ...

    def put(self, name: str, meta: ParamTree) -> Any:
        """Give theta to the workers; what `submit` and `release` take for it.

        Raises:
            NoWorkerError: If there is none to take it.
            EngineError: If the engine has ended.
        """
        ...

    def release(self, theta: Any) -> None:
        """Free the memory of a theta."""
        ...

    def submit(
        self, theta: Any, shards: Sequence[Shard], avoid: Collection[str] = ()
    ) -> None:
        """Have shards computed.

        Args:
            theta: Of the shards' round.
            shards: What to compute; none of them is under way.
            avoid: Workers that are not to compute them.
        """
        ...

    def next_done(self, timeout_s: float) -> Done | None:
        """The next shard that ends; None: none did in time.

        Raises:
            EngineError: If the engine has ended.
        """
        ...

    def cancel(self) -> None:
        """Drop all shards under way: before they begin, or after the task in hand."""
        ...

    def close(self) -> None:
        """Let go of the engine, and end what was started here. May be called twice."""
        ...

"""How a worker's driver reaches a coordinator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mlpeft.errors import MlpeftError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mlpeft.cluster.protocol import CoordinatorMessage, Hello, WorkerMessage
    from mlpeft.transport.rpc.join_codec import JoinRequest, JoinResponse


class LinkLostError(MlpeftError):
    """The coordinator cannot be reached, or went away: try again."""


class LinkRefusedError(MlpeftError):
    """The coordinator will not have this worker until something is changed."""


class Stream(Protocol):
    """An open stream of work."""

    def send(self, message: WorkerMessage) -> None:
        """Send soon; small messages overtake the arrays of large ones."""
        ...

    async def receive(self) -> CoordinatorMessage | None:
        """The next message; None when the coordinator has ended the stream in order.

        Raises:
            LinkLostError: If the stream broke.
            LinkRefusedError: If the coordinator ended it for good, with its reason.
            RemoteProtocolError: If what came is not what the contract says.
        """
        ...

    async def finish(self) -> None:
        """Send what is waiting, and end this side of the stream."""
        ...

    def close(self) -> None:
        """Drop the stream now."""
        ...


class Link(Protocol):
    """A way to a coordinator, for any number of connections one after another."""

    async def join(self, request: JoinRequest) -> JoinResponse:
        """Ask to take part.

        Raises:
            LinkLostError: If nobody answers.
            LinkRefusedError: If the answer is no.
        """
        ...

    async def open(self, hello: Hello) -> Stream:
        """Open the stream of work of a join."""
        ...

    def fetch(
        self, worker_id: str, sha256: str, offset: int
    ) -> AsyncGenerator[bytes, None]:
        """The bytes of one of the run's blobs from an offset on, in pieces.

        Args:
            worker_id: From the join.
            sha256: Of the blob.
            offset: Bytes to leave out.

        Raises:
            LinkLostError: If the line breaks, or nothing comes for long.
            LinkRefusedError: If the answer is no.
        """
        ...

    async def close(self) -> None:
        """Release sockets. May be called twice."""
        ...

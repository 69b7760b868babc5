"""What a driver sends to: the coordinator's end of any stream of work."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from mlpeft.cluster.protocol import Theta
from mlpeft.transport.rpc.codec import encode_down

if TYPE_CHECKING:
    from mlpeft.cluster.protocol import CoordinatorMessage
    from mlpeft.params import ParamTree
    from mlpeft.transport.rpc.outbox import Traffic


class EncodedTheta:
    """A version of theta, encoded once for all peers that need bytes."""

    def __init__(self, version: int, meta: ParamTree) -> None:
        self.message = Theta(version, meta)
        self.size_bytes = sum(leaf.nbytes for leaf in meta.values())

    @cached_property
    def frames(self) -> list[bytes]:
        """Complete gRPC messages, the same objects for every worker."""
        return list(encode_down(self.message))


class Peer(Protocol):
    """The coordinator's end of a stream of work.

    Attributes:
        traffic: What went over it.
    """

    traffic: Traffic

    def send(self, message: CoordinatorMessage) -> None:
        """Send a small message soon; RunOver ends the stream in order."""
        ...

    def send_theta(self, theta: EncodedTheta) -> None:
        """Send theta soon."""
        ...

    def dismiss(self, reason: str) -> None:
        """Drop the stream now."""
        ...

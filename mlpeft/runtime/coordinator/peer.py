"""What a driver sends to: the coordinator's end of any stream of work."""

from __future__ import annotations

from collections import deque
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from mlpeft.cluster.protocol import Theta
from mlpeft.transport.rpc.codec import encode_theta

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.cluster.protocol import CoordinatorMessage
    from mlpeft.params import ParamTree
    from mlpeft.transport.rpc.chunks import SharedFrames
    from mlpeft.transport.rpc.outbox import Traffic


class EncodedTheta:
    """A version of theta, or a step to it, whose frames all peers share.

    The leaves must not change while it may be sent.

    Args:
        version: Which.
        meta: The meta-state, or the packed step.
        base: The version that the step starts from; None: there is no step.
    """

    def __init__(self, version: int, meta: ParamTree, base: int | None = None) -> None:
        self.message = Theta(version, meta, base)
        self.size_bytes = sum(leaf.nbytes for leaf in meta.values())
        self.steps: tuple[EncodedTheta, ...] = ()
        """The newest steps, one from the other, the last to this version."""

    @cached_property
    def frames(self) -> SharedFrames:
        """Complete gRPC messages, the same for every worker."""
        return encode_theta(self.message)

    def after(self, version: int | None) -> Sequence[EncodedTheta]:
        """What to send to a worker that has a version of theta: steps, or the whole.

        Args:
            version: Which it has; None: none.
        """
        known = [step.message.base for step in self.steps]
        return self.steps[known.index(version) :] if version in known else [self]


class RecentSteps:
    """The newest steps of theta, as long as they take fewer bytes than theta."""

    def __init__(self) -> None:
        self._steps: deque[EncodedTheta] = deque()

    def note(self, version: int, step: ParamTree) -> None:
        """How theta of a version follows from the one before."""
        if self._steps and self._steps[-1].message.version != version - 1:
            self._steps.clear()
        self._steps.append(EncodedTheta(version, step, version - 1))

    def to(self, version: int, size_bytes: int) -> tuple[EncodedTheta, ...]:
        """The steps that lead to a version.

        Args:
            version: Which.
            size_bytes: Of theta.
        """
        if not self._steps or self._steps[-1].message.version != version:
            self._steps.clear()
        while sum(step.size_bytes for step in self._steps) > size_bytes:
            self._steps.popleft()
        return tuple(self._steps)


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

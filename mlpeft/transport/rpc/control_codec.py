"""The call Control: its request and response, to bytes and back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mlpeft.errors import RemoteProtocolError
from mlpeft.transport.rpc import cluster_pb2 as pb
from mlpeft.transport.rpc.parsing import MOST_REQUEST_BYTES, parse, text


class Action(StrEnum):
    """What an operator may ask for; as in cluster.proto."""

    DRAIN = "drain"
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class ControlRequest:
    """An operator steers; `worker` is a name, for drain and release."""

    action: Action
    worker: str = ""


def encode_request(request: ControlRequest) -> bytes:
    """The bytes of a Control call."""
    return pb.ControlRequest(
        action=request.action.value, worker=request.worker
    ).SerializeToString()


def decode_request(data: bytes) -> ControlRequest:
    """What an operator asks for.

    Raises:
        RemoteProtocolError: If it is something else.
    """
    request = parse(pb.ControlRequest, data, MOST_REQUEST_BYTES)
    try:
        action = Action(request.action)
    except ValueError as error:
        known = ", ".join(Action)
        raise RemoteProtocolError(
            f"there is no action {request.action[:40]!r}; there are: {known}"
        ) from error
    return ControlRequest(action, text(request.worker))


def encode_response(text: str) -> bytes:
    """The bytes of a Control call's answer."""
    return pb.ControlResponse(text=text).SerializeToString()


def decode_response(data: bytes) -> str:
    """What happens now, in the coordinator's words.

    Raises:
        RemoteProtocolError: If it is something else.
    """
    answer: str = parse(pb.ControlResponse, data).text
    return answer

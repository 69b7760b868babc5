"""Messages of the service Enrolment, to bytes and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from mlpeft.errors import RemoteProtocolError
from mlpeft.transport.rpc import cluster_pb2 as pb

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class EnrolRequest:
    """A machine asks for a certificate; fields as in cluster.proto."""

    secret: str = field(repr=False)
    name: str
    certificate_request: bytes


@dataclass(frozen=True, slots=True)
class EnrolResponse:
    """A machine gets a certificate; fields as in cluster.proto."""

    certificate: bytes
    port: int


def encode_authority(ca_certificate: bytes) -> bytes:
    """The answer to Authority."""
    return pb.AuthorityResponse(ca_certificate=ca_certificate).SerializeToString()


def decode_authority(data: bytes) -> bytes:
    """The CA's certificate, PEM, not checked.

    Raises:
        RemoteProtocolError: If it is not what the contract says.
    """
    return bytes(_parse(pb.AuthorityResponse, data).ca_certificate)


def encode_request(request: EnrolRequest) -> bytes:
    """The question of Enrol."""
    return pb.EnrolRequest(
        secret=request.secret,
        name=request.name,
        certificate_request=request.certificate_request,
    ).SerializeToString()


def decode_request(data: bytes) -> EnrolRequest:
    """The question of Enrol.

    Raises:
        RemoteProtocolError: If it is not what the contract says.
    """
    message = _parse(pb.EnrolRequest, data)
    return EnrolRequest(message.secret, message.name, message.certificate_request)


def encode_response(response: EnrolResponse) -> bytes:
    """The answer to Enrol."""
    return pb.EnrolResponse(
        certificate=response.certificate, port=response.port
    ).SerializeToString()


def decode_response(data: bytes) -> EnrolResponse:
    """The answer to Enrol.

    Raises:
        RemoteProtocolError: If it is not what the contract says.
    """
    message = _parse(pb.EnrolResponse, data)
    if not 0 < message.port < 1 << 16:
        raise RemoteProtocolError(f"{message.port} is not a port")
    return EnrolResponse(message.certificate, message.port)


def _parse(kind: type[M], data: bytes) -> M:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise RemoteProtocolError(f"not a {kind.__name__}: {error}") from error

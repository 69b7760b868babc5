"""Encodes and decodes the messages of the service Enrolment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from mlpeft.errors import RemoteProtocolError
from mlpeft.transport.rpc import cluster_pb2 as pb

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class EnrolRequest:
    """A request for a certificate; fields as in cluster.proto."""

    secret: str = field(repr=False)
    name: str
    certificate_request: bytes


@dataclass(frozen=True, slots=True)
class EnrolResponse:
    """An issued certificate; fields as in cluster.proto."""

    certificate: bytes
    port: int


def encode_authority(ca_certificate: bytes) -> bytes:
    """Encode the response of Authority."""
    return pb.AuthorityResponse(ca_certificate=ca_certificate).SerializeToString()


def decode_authority(data: bytes) -> bytes:
    """Decode the response of Authority: the CA's certificate, PEM, not checked.

    Raises:
        RemoteProtocolError: If it is malformed.
    """
    return bytes(_parse(pb.AuthorityResponse, data).ca_certificate)


def encode_request(request: EnrolRequest) -> bytes:
    """Encode the request of Enrol."""
    return pb.EnrolRequest(
        secret=request.secret,
        name=request.name,
        certificate_request=request.certificate_request,
    ).SerializeToString()


def decode_request(data: bytes) -> EnrolRequest:
    """Decode the request of Enrol.

    Raises:
        RemoteProtocolError: If it is malformed.
    """
    message = _parse(pb.EnrolRequest, data)
    return EnrolRequest(message.secret, message.name, message.certificate_request)


def encode_response(response: EnrolResponse) -> bytes:
    """Encode the response of Enrol."""
    return pb.EnrolResponse(
        certificate=response.certificate, port=response.port
    ).SerializeToString()


def decode_response(data: bytes) -> EnrolResponse:
    """Decode the response of Enrol.

    Raises:
        RemoteProtocolError: If it is malformed.
    """
    message = _parse(pb.EnrolResponse, data)
    if not 0 < message.port < 1 << 16:
        raise RemoteProtocolError(f"invalid port {message.port}")
    return EnrolResponse(message.certificate, message.port)


def _parse(kind: type[M], data: bytes) -> M:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise RemoteProtocolError(f"not a {kind.__name__}: {error}") from error

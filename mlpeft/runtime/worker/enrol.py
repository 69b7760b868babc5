"""Joining a cluster with a token: once, before the first work."""

from __future__ import annotations

import hmac
import ssl
from typing import TYPE_CHECKING

import grpc

from mlpeft.errors import MlpeftError
from mlpeft.transport.rpc import channel, credentials
from mlpeft.transport.rpc import enrolment_codec as codec
from mlpeft.transport.rpc.address import join_address, split_address
from mlpeft.transport.security import certificates, identity
from mlpeft.transport.security.folders import SecurityError

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.transport.security.identity import Identity
    from mlpeft.transport.security.token import JoinToken

TIMEOUT_S = 10.0


def enrol(token: JoinToken, folder: Path, name: str) -> Identity:
    """Get a certificate for a key that is made here and stays here.

    The token's secret is sent only to a coordinator that shows a certificate of the CA
    whose fingerprint the token has.

    Args:
        token: From the head node.
        folder: Where key and certificate are kept.
        name: What this machine is to be called.

    Raises:
        MlpeftError: If nobody answers, it is not the token's coordinator, or it says
            no.
    """
    key = identity.private_key(folder)
    request = certificates.new_request(key, name)
    ca = _authority(token)
    question = codec.EnrolRequest(token.secret, name, request)
    with credentials.join_channel(token.address, ca) as connection:
        data = _call(connection, token, channel.ENROL, codec.encode_request(question))
    answer = codec.decode_response(data)
    if not certificates.same_key(answer.certificate, request):
        raise SecurityError("the coordinator sent a certificate for another key")
    host, _ = split_address(token.address, "the token")
    address = join_address(host, answer.port)
    certificate = certificates.first_certificate(answer.certificate)
    return identity.save(folder, address, certificate, ca)


def _authority(token: JoinToken) -> bytes:
    """The CA's certificate, if it is the one that the token names.

    Whoever answers is not known yet, and gets nothing from us: it is asked for its CA,
    over TLS with whatever certificate it shows.
    """
    host, port = split_address(token.address, "the token")
    try:
        shown = ssl.get_server_certificate((host, port), timeout=TIMEOUT_S)
    except ssl.SSLError as error:
        raise SecurityError(
            f"{token.address} does not speak TLS; is it the port for joins of an "
            "mlpeft coordinator?"
        ) from error
    except OSError as error:
        raise _nobody(token) from error
    with credentials.join_channel(token.address, shown.encode()) as connection:
        answer = _call(connection, token, channel.AUTHORITY, b"")
    ca = certificates.first_certificate(codec.decode_authority(answer))
    if not hmac.compare_digest(certificates.fingerprint(ca), token.ca_fingerprint):
        raise SecurityError(
            f"the coordinator at {token.address} is not the one that made the token: "
            "its CA has another fingerprint. Nothing was sent to it. Check the "
            "address, and who else answers there"
        )
    return ca


def _call(
    connection: grpc.Channel, token: JoinToken, method: str, data: bytes
) -> bytes:
    try:
        answer: bytes = connection.unary_unary(method)(data, timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        if "CERTIFICATE_VERIFY_FAILED" in error.details():
            raise SecurityError(
                f"the coordinator at {token.address} shows a certificate that its CA "
                "did not sign; the secret was not sent. Check who answers there"
            ) from error
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            raise _nobody(token) from error
        raise MlpeftError(f"the coordinator says no: {error.details()}") from error
    return answer


def _nobody(token: JoinToken) -> MlpeftError:
    return MlpeftError(
        f"no coordinator takes joins at {token.address}; is it running, and can this "
        "machine reach it? --address host:port dials another address"
    )

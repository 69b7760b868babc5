"""Asking a coordinator one question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.errors import MlpeftError

if TYPE_CHECKING:
    from mlpeft.security.identity import Identity

TIMEOUT_S = 5.0


class CoordinatorGoneError(MlpeftError):
    """Nobody answers; somebody may, later."""


def ask(address: str, shown: Identity | None, method: str, question: bytes) -> bytes:
    """The answer to a unary call, over a connection of its own.

    Args:
        address: The coordinator's host:port.
        shown: What this side shows; None: in the clear.
        method: One of `rpc.channel`.
        question: Encoded.

    Raises:
        CoordinatorGoneError: If nobody answers.
        MlpeftError: If the coordinator says no, or something is to be put right.
    """
    import grpc

    from mlpeft.rpc import credentials
    from mlpeft.rpc.diagnose import obstacle

    with credentials.blocking_channel(address, shown) as connection:
        try:
            answer: bytes = connection.unary_unary(method)(question, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            if error.code() in (
                grpc.StatusCode.PERMISSION_DENIED,
                grpc.StatusCode.NOT_FOUND,
                grpc.StatusCode.INVALID_ARGUMENT,
            ):
                raise MlpeftError(error.details()) from error
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                raise MlpeftError(
                    f"the coordinator at {address} does not know this call; run the "
                    "same version of mlpeft on both sides"
                ) from error
            reason = obstacle(address, shown)
            if reason is not None:
                raise MlpeftError(reason) from error
            raise CoordinatorGoneError(
                f"no coordinator answers at {address}; is it running, and is this the "
                "address that it said it listens on?"
            ) from error
    return answer

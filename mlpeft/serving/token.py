"""The secret with which programs call a server."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Final

from mlpeft.transport.rpc.address import is_loopback
from mlpeft.transport.security.folders import (
    SecurityError,
    read_private,
    write_private,
)

if TYPE_CHECKING:
    from pathlib import Path

VARIABLE: Final = "MLPEFT_SERVE_TOKEN"
LEAST: Final = 16
"""Characters of a token."""


def find_token(file: Path | None, host: str) -> str | None:
    """The token of a file, which is made if there is none, or of the environment.

    Args:
        file: Readable by its owner alone; None: the variable `MLPEFT_SERVE_TOKEN`.
        host: Where the server will listen: on loopback it may have none.

    Raises:
        SecurityError: If others can reach the server and there is no token, or it is
            too short, or others can read the file.
    """
    if file is not None:
        try:
            token = read_private(file).decode("utf-8", "replace").strip()
        except FileNotFoundError:
            token = secrets.token_urlsafe(32)
            write_private(file, f"{token}\n".encode())
        return _checked(token, str(file))
    if token := os.environ.get(VARIABLE, ""):
        return _checked(token, VARIABLE)
    if is_loopback(host):
        return None
    raise SecurityError(
        f"--listen: {host} can be reached from other machines, so callers need a "
        f"token: give --token-file FILE (made if it is not there), or set {VARIABLE}"
    )


def _checked(token: str, source: str) -> str:
    if len(token) < LEAST or not token.isascii() or not token.isprintable():
        raise SecurityError(
            f"{source}: the token has {len(token)} characters, expected at least "
            f"{LEAST} of ASCII; make one with `openssl rand -base64 32`"
        )
    return token

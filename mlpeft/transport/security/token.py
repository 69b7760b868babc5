"""Join tokens: what a worker is given, once, to be let into a cluster.

A token says where to ask, by which CA to know the coordinator, and a secret to be known
by. It is text for one line of a shell: `mlpeft1.` and base64 of JSON.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from dataclasses import asdict, dataclass, field

from mlpeft.errors import MlpeftError

PREFIX = "mlpeft1."
SECRET_BYTES = 16
"""128 bits: nobody guesses it, so its hash needs no salt and no slowness."""


class TokenError(MlpeftError):
    """A token that cannot be used."""


@dataclass(frozen=True, slots=True)
class JoinToken:
    """What a token says.

    Attributes:
        address: host:port where the coordinator takes joins.
        ca_fingerprint: SHA-256 of the CA's certificate, hexadecimal.
        secret: Proves that the asker was given the token.
    """

    address: str
    ca_fingerprint: str
    secret: str = field(repr=False)

    def __str__(self) -> str:
        """The token's text."""
        packed = json.dumps(asdict(self), separators=(",", ":")).encode()
        return PREFIX + base64.urlsafe_b64encode(packed).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> JoinToken:
        """A token from its text.

        Raises:
            TokenError: If it is not a whole token of this version.
        """
        text = text.strip()
        body = text.removeprefix(PREFIX)
        try:
            packed = base64.b64decode(body + "=" * (-len(body) % 4), b"-_", True)
            token = cls(**json.loads(packed))
        except (binascii.Error, ValueError, TypeError) as error:
            raise _not_a_token(text) from error
        values = asdict(token).values()
        whole = all(isinstance(value, str) for value in values)
        if not (whole and text.startswith(PREFIX)):
            raise _not_a_token(text)
        return token


def _not_a_token(text: str) -> TokenError:
    """The message does not repeat the text: part of it may be a secret."""
    return TokenError(
        f"not a join token: expected {PREFIX}... in one piece, got {len(text)} "
        "characters; copy all of what `mlpeft-coordinator token` printed"
    )


def new_secret() -> str:
    """A fresh secret, hexadecimal."""
    return secrets.token_hex(SECRET_BYTES)

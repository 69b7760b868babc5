"""Join tokens, with which a worker joins a cluster.

A token has the coordinator's address, the fingerprint of its CA, and a secret. It is
text for one line of a shell: `mlpeft1.` and base64 of JSON.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from dataclasses import asdict, dataclass, field

from mlpeft.errors import MlpeftError
from mlpeft.files import parse_json

PREFIX = "mlpeft1."
SECRET_BYTES = 16
"""128 bits: not guessable, so its hash needs neither salt nor stretching."""


class TokenError(MlpeftError):
    """An unusable token."""


@dataclass(frozen=True, slots=True)
class JoinToken:
    """A join token.

    Attributes:
        address: host:port of the coordinator's port for joins.
        ca_fingerprint: SHA-256 of the CA's certificate, hexadecimal.
        secret: Proves that the caller has the token.
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
        """Parse a token's text.

        Raises:
            TokenError: If it is not a complete token of this version.
        """
        text = text.strip()
        body = text.removeprefix(PREFIX)
        try:
            packed = base64.b64decode(body + "=" * (-len(body) % 4), b"-_", True)
            token = cls(**parse_json(packed))
        except (binascii.Error, ValueError, TypeError) as error:
            raise _not_a_token(text) from error
        values = asdict(token).values()
        all_text = all(isinstance(value, str) for value in values)
        if not (all_text and text.startswith(PREFIX)):
            raise _not_a_token(text)
        return token


def _not_a_token(text: str) -> TokenError:
    """The error; it does not repeat the text, which may contain a secret."""
    return TokenError(
        f"not a join token: expected {PREFIX}... in one piece, got {len(text)} "
        "characters; copy all that `mlpeft-coordinator token` printed"
    )


def new_secret() -> str:
    """Create a secret, hexadecimal."""
    return secrets.token_hex(SECRET_BYTES)

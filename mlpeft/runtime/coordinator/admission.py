"""Who a call comes from, and whether they may make it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlpeft.errors import MlpeftError
from mlpeft.transport.security import certificates

if TYPE_CHECKING:
    from mlpeft.runtime.coordinator.listen import Context
    from mlpeft.transport.security.authority import Authority

log = logging.getLogger("mlpeft.coordinator")

LOOK_S = 0.5
"""Seconds between looks at whether a certificate in use was revoked."""


class NotAdmittedError(MlpeftError):
    """A caller whose certificate is not, or no longer, on the list."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom TLS has let through.

    Attributes:
        name: In the certificate.
        serial: Of the certificate, hexadecimal.
    """

    name: str
    serial: str

    def call(self, name: str) -> str:
        """What to call a worker of theirs: what they say, but always by their name.

        What could not be a name is left out: it goes into logs and onto terminals.
        """
        if name == self.name or not certificates.is_valid_name(name):
            return self.name
        return f"{self.name}/{name}"


class Admission:
    """Stands behind TLS, which has checked certificates but knows no revocation.

    Args:
        authority: Whose list counts.
    """

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    def admit(self, context: Context) -> Caller:
        """Whoever makes a call.

        Raises:
            NotAdmittedError: If they may not; it is logged.
        """
        (pem,) = context.auth_context()["x509_pem_cert"]
        info = certificates.read(pem)
        visitor = Caller(info.name, info.serial)
        try:
            self.check(visitor)
        except NotAdmittedError as error:
            log.warning("%s from %s refused: %s", info.name, context.peer(), error)
            raise
        return visitor

    def check(self, visitor: Caller) -> None:
        """See that a visitor may still be here.

        Raises:
            NotAdmittedError: If not, or if the list cannot be read.
        """
        try:
            refusal = self._authority.refusal(visitor.serial)
        except MlpeftError as error:
            raise NotAdmittedError(str(error)) from error
        if refusal is not None:
            raise NotAdmittedError(refusal)

    async def watch(self, visitor: Caller) -> None:
        """Return never, unless the visitor is shut out.

        Raises:
            NotAdmittedError: Then.
        """
        while True:
            await asyncio.sleep(LOOK_S)
            self.check(visitor)

"""Identifies callers by their certificates, and admits or refuses them."""

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

POLL_S = 0.5
"""Seconds between checks whether a certificate in use was revoked."""


class NotAdmittedError(MlpeftError):
    """The caller's certificate is not on the list, or was revoked."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller that TLS has authenticated.

    Attributes:
        name: The name in the certificate.
        serial: The certificate's serial number, hexadecimal.
    """

    name: str
    serial: str

    def worker_name(self, name: str) -> str:
        """The name of one of the caller's workers, prefixed with the certificate's.

        An invalid name is dropped, since names go to logs and terminals.
        """
        if name == self.name or not certificates.is_valid_name(name):
            return self.name
        return f"{self.name}/{name}"


class Admission:
    """Checks callers against the list; TLS checks certificates, but not revocation.

    Args:
        authority: The authority with the list.
    """

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    def admit(self, context: Context) -> Caller:
        """Identify and check the caller of a call.

        Raises:
            NotAdmittedError: If the caller is refused, which is logged.
        """
        (pem,) = context.auth_context()["x509_pem_cert"]
        info = certificates.read(pem)
        caller = Caller(info.name, info.serial)
        try:
            self.check(caller)
        except NotAdmittedError as error:
            log.warning("refused %s from %s: %s", info.name, context.peer(), error)
            raise
        return caller

    def check(self, caller: Caller) -> None:
        """Check that a caller's certificate is on the list and not revoked.

        Raises:
            NotAdmittedError: If it is not, or the list cannot be read.
        """
        try:
            refusal = self._authority.refusal(caller.serial)
        except MlpeftError as error:
            raise NotAdmittedError(str(error)) from error
        if refusal is not None:
            raise NotAdmittedError(refusal)

    async def watch(self, caller: Caller) -> None:
        """Run until the caller's certificate is revoked.

        Raises:
            NotAdmittedError: When it is revoked, or the list cannot be read.
        """
        while True:
            await asyncio.sleep(POLL_S)
            self.check(caller)

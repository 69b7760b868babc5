"""Who may look at a dashboard, and who may steer through it.

On loopback, where the coordinator lets everybody steer, so does the page. Where it asks
for certificates, steering takes an operator's certificate or the one-time link that is
printed on the head node; everybody else looks. Requests of other sites are refused.
"""

from __future__ import annotations

import hmac
import secrets
import ssl
from typing import TYPE_CHECKING, Final

from mlpeft.errors import MlpeftError
from mlpeft.transport.security import certificates
from mlpeft.web.guard import own_origin
from mlpeft.web.server import PEER

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from mlpeft.transport.security.authority import Authority

COOKIE: Final = "mlpeft_operator"
PAGE_HEADER: Final = "x-mlpeft-token"
MOST_LOGINS: Final = 100


class ForbiddenError(MlpeftError):
    """A request that may not be answered."""


class Access:
    """Decides about requests.

    Args:
        open_to_all: Whether everybody who reaches the page may steer.
        local: Whether it is served on loopback.
        authority: Says who is an operator; None: nobody shows a certificate.
        tell: Prints a login link's path for the head node's user; None: no links, so
            that nobody can log in.
    """

    def __init__(
        self,
        *,
        open_to_all: bool,
        local: bool,
        authority: Authority | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.token = secrets.token_urlsafe(24)
        """Proves that a request comes from our page; the page has it."""
        self._open = open_to_all
        self.local = local
        self._authority = authority
        self._tell = tell
        self._key = ""
        self._logins: dict[str, str] = {}

    def offer_link(self) -> None:
        """Print a link with which one browser may log in."""
        if self._tell is not None:
            self._key = secrets.token_urlsafe(24)
            self._tell(f"/login/{self._key}")

    def log_in(self, key: str) -> str | None:
        """The cookie for a link's key, which then ends; None: it is not the key."""
        if not self._key or not hmac.compare_digest(key.encode(), self._key.encode()):
            return None
        cookie = secrets.token_urlsafe(24)
        while len(self._logins) >= MOST_LOGINS:
            self._logins.pop(next(iter(self._logins)))
        self._logins[cookie] = "an operator at the dashboard"
        self.offer_link()
        return cookie

    def operator(self, request: Request) -> str | None:
        """Who may steer, as whom it is logged; None: the caller may only look."""
        if self._open:
            return "a user of the dashboard"
        login = self._logins.get(request.cookies.get(COOKIE, ""))
        if login is not None:
            return login
        der = request.scope.get(PEER)
        if self._authority is None or not der:
            return None
        info = certificates.read(ssl.DER_cert_to_PEM_cert(der).encode())
        return info.name if self._authority.is_operator(info.serial) else None

    def check_steering(self, request: Request) -> str:
        """Who steers.

        Raises:
            ForbiddenError: If they may not, or another site sent the request.
        """
        origin = request.headers.get("origin", "")
        token = request.headers.get(PAGE_HEADER, "")
        if origin != own_origin(request):
            raise ForbiddenError("the request comes from another site")
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            raise ForbiddenError("the page is outdated; reload it")
        who = self.operator(request)
        if who is None:
            raise ForbiddenError(
                "only operators steer: open the link that the head node printed, or "
                "come with an operator's certificate"
            )
        return who

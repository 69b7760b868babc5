"""What every answer over HTTP carries, and which requests are refused at the door."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import PlainTextResponse

from mlpeft.transport.rpc.address import is_loopback

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from starlette.types import ASGIApp

HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Of every answer: nothing but our own files is loaded, and no text becomes script."""


class Guarded:
    """Adds `HEADERS` to every answer, and refuses other sites' host names.

    Args:
        app: Answers the requests.
        local: Whether it is served on loopback: then other host names are refused,
            which another site may have pointed here.
        refuse: The answer to a refused request, from why it is refused.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        local: bool,
        refuse: Callable[[str], ASGIApp] = lambda why: PlainTextResponse(why, 403),
    ) -> None:
        self._app = app
        self._local = local
        self._refuse = refuse

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        """Answer a request, or refuse it."""

        async def send_guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                extra = [(k.encode(), v.encode()) for k, v in HEADERS.items()]
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        if scope["type"] != "http":
            return
        host = urlsplit(f"//{Request(scope).headers.get('host', '')}").hostname or ""
        if self._local and not is_loopback(host):
            why = f"this page is served for this machine, not for {host[:80]!r}"
            await self._refuse(why)(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)


def own_origin(request: Request) -> str:
    """The origin that a browser names for requests of our own pages."""
    return f"{request.url.scheme}://{request.headers.get('host', '')}"

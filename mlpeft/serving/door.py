"""What a request passes before the application: origin, token, size, and a clock."""

from __future__ import annotations

import asyncio
import hmac
import time
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request

from mlpeft.serving.errors import ApiError
from mlpeft.web.guard import own_origin

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from mlpeft.serving.limits import Limits
    from mlpeft.serving.metrics import Metrics

OPEN: Final = ("/", "/docs", "/health", "/openapi.json", "/static/")
"""Paths that need no token: they tell nothing of adapters or texts."""


class Door:
    """Refuses what may not enter, reads bodies within their limit, and counts.

    Args:
        app: Answers the requests.
        token: The secret that callers must show; None: none.
        limits: Of a body's size and time.
        metrics: Counts answers.
    """

    def __init__(
        self, app: ASGIApp, token: str | None, limits: Limits, metrics: Metrics
    ) -> None:
        self._app = app
        self._token = token
        self._limits = limits
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        began = time.perf_counter()
        status = 500

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        request = Request(scope, receive)
        try:
            self._check(request)
            body = await self._read(request)
            await self._app(scope, _replay(body, receive), send_noting)
        except ApiError as error:
            await error.response()(scope, receive, send_noting)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            seconds = time.perf_counter() - began
            self._metrics.observe_request(route, request.method, status, seconds)

    def _check(self, request: Request) -> None:
        origin = request.headers.get("origin")
        if origin is not None and origin != own_origin(request):
            raise ApiError(
                403,
                f"the request comes from a page of another site, {origin[:80]}",
                "call the server from a program, or through a proxy of your own",
            )
        path = request.url.path
        if self._token is None or path in OPEN or path.startswith(OPEN[-1]):
            return
        given = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
            what = "another token" if given else "no token"
            raise ApiError(
                401,
                f"got {what}, expected the one that the server was started with",
                "send the header `authorization: Bearer TOKEN`",
                headers={"www-authenticate": "Bearer"},
            )

    async def _read(self, request: Request) -> bytes:
        """The body of a request.

        Raises:
            ApiError: If it is too large or too slow.
        """
        most = self._limits.body_bytes
        too_large = ApiError(
            413,
            f"the body is larger than {most:,} bytes",
            "send fewer texts at a time, or start the server with --max-body-mb",
        )
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > most:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_s):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > most:
                        raise too_large
        except TimeoutError as error:
            raise ApiError(
                408,
                f"the body did not come within {self._limits.body_s:g} s",
                "send it again",
            ) from error
        return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """What gives an application a body that was read, and then what follows it."""
    waiting: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again

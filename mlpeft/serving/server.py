"""A server with all its parts, and their order at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlpeft.serving.api import Api
from mlpeft.serving.compute import ComputeThread
from mlpeft.serving.library import Library
from mlpeft.serving.metrics import Metrics
from mlpeft.web.server import WebServer

if TYPE_CHECKING:
    from mlpeft.serving.limits import Limits
    from mlpeft.transport.security.authority import Authority

GRACE_S = 30


class ClassifierServer:
    """Classifiers over HTTP, until it is closed.

    Args:
        limits: Of requests.
        grace_s: Seconds that requests under way get at the end.
        **library: Of `Library`: start, base, store.

    Attributes:
        library: Its adapters; load some before `start`.
    """

    def __init__(
        self, limits: Limits, *, grace_s: int = GRACE_S, **library: Any
    ) -> None:
        self._limits = limits
        self._grace_s = grace_s
        self._compute = ComputeThread(limits.waiting_texts, self._observe)
        self.library = Library(self._compute, limits, **library)
        self._metrics = Metrics(
            lambda: len(self.library), lambda: self._compute.waiting
        )
        self._web: WebServer | None = None

    def start(
        self,
        host: str,
        port: int,
        *,
        token: str | None = None,
        authority: Authority | None = None,
        local: bool = True,
        read_only: bool = False,
    ) -> str:
        """Listen; the URL, with the port that was chosen for port 0.

        Args:
            host: To listen at.
            port: 0: any free one.
            token: That callers must show; None: none.
            authority: Whose certificate is shown; None: in the clear.
            local: Whether only this machine reaches it.
            read_only: Whether adapters may neither be made nor deleted.

        Raises:
            MlpeftError: If the address cannot be had.
        """
        api = Api(
            self.library,
            self._compute,
            self._limits,
            self._metrics,
            read_only=read_only,
        )
        app = api.app(token=token, local=local)
        self._web = WebServer(app, "classifiers", authority, grace_s=self._grace_s)
        return self._web.start(host, port)

    def is_alive(self, wait_s: float = 0.0) -> bool:
        """Whether it still serves, after at most some seconds of waiting."""
        return self._web is not None and self._web.is_alive(wait_s)

    def close(self) -> None:
        """Finish the requests under way, then stop. May be called twice."""
        if self._web is not None:
            self._web.close()
        # What learns beyond the grace waits for vectors: this ends its waiting.
        self._compute.close()
        self.library.close()

    def _observe(self, requests: int, texts: int, seconds: float) -> None:
        self._metrics.observe_batch(requests, texts, seconds)

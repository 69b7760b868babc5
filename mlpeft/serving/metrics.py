"""What Prometheus is told of a server; docs/serve.md lists it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0)
BATCHES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)

METHODS: Final = ("GET", "HEAD", "POST", "DELETE")


class Metrics:
    """Counts requests, texts and batches.

    Args:
        adapters: Says how many are in memory.
        waiting: Says how many texts wait.
    """

    def __init__(
        self, adapters: Callable[[], float], waiting: Callable[[], float]
    ) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._requests = Counter(
            "mlpeft_serve_requests",
            "Answered requests",
            ["route", "method", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "mlpeft_serve_request_seconds",
            "From a request to its answer",
            ["route", "method"],
            buckets=SECONDS,
            registry=registry,
        )
        self.texts = Counter(
            "mlpeft_serve_texts", "Texts that were predicted", registry=registry
        )
        self.rejected = Counter(
            "mlpeft_serve_rejected_texts",
            "Texts below the threshold of confidence",
            registry=registry,
        )
        self._batch_texts = Histogram(
            "mlpeft_serve_batch_texts",
            "Texts that were embedded together",
            buckets=BATCHES,
            registry=registry,
        )
        self._batch_requests = Histogram(
            "mlpeft_serve_batch_requests",
            "Requests that were embedded together",
            buckets=BATCHES,
            registry=registry,
        )
        self._compute = Counter(
            "mlpeft_serve_compute_seconds",
            "Seconds that the compute thread embedded",
            registry=registry,
        )
        for name, text, value in (
            ("mlpeft_serve_adapters", "Adapters in memory", adapters),
            ("mlpeft_serve_waiting_texts", "Texts that wait to be embedded", waiting),
        ):
            Gauge(name, text, registry=registry).set_function(value)

    def observe_request(
        self, route: str, method: str, status: int, seconds: float
    ) -> None:
        """Count an answered request."""
        # Callers may make up any method; each would be kept for ever.
        method = method if method in METHODS else "other"
        self._requests.labels(route, method, status).inc()
        self._seconds.labels(route, method).observe(seconds)

    def observe_batch(self, requests: int, texts: int, seconds: float) -> None:
        """Count a batch of the compute thread."""
        self._batch_requests.observe(requests)
        self._batch_texts.observe(texts)
        self._compute.inc(seconds)

    def exposition(self) -> bytes:
        """All metrics, in Prometheus' text format."""
        return generate_latest(self._registry)

"""The coordinator's Prometheus metrics, over HTTP.

Most are computed from the overview at each scrape, so that they cost the cluster
nothing. docs/metrics.md lists them; a test compares the two.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from mlpeft import __version__
from mlpeft.cluster.status import WORKER_STATES
from mlpeft.errors import MlpeftError
from mlpeft.transport.rpc.address import join_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from prometheus_client.core import Metric

    from mlpeft.cluster.overview import Overview

ROUND_SECONDS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0),
)
"""Upper bounds of the histogram's buckets."""


class Metrics:
    """Serves metrics until it is closed.

    Args:
        overview: Returns the state to export; called from a separate thread.
    """

    def __init__(self, overview: Callable[[], Overview]) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_OverviewCollector(overview))
        self._rounds = Histogram(
            "mlpeft_round_seconds",
            "From a round's opening to its last update",
            buckets=ROUND_SECONDS,
            registry=self.registry,
        )
        self._server: Any = None
        self._thread: Any = None

    def start(self, host: str, port: int) -> str:
        """Start to serve; returns the address, with the actual port for port 0.

        Raises:
            MlpeftError: If the address is not available.
        """
        try:
            self._server, self._thread = start_http_server(
                port, addr=host, registry=self.registry
            )
        except OSError as error:
            address = join_address(host, port)
            raise MlpeftError(
                f"cannot serve metrics on {address}: {error.strerror}; "
                "give another with --set cluster.metrics_port=PORT (0: any free port)"
            ) from error
        return join_address(host, self._server.server_port)

    def close(self) -> None:
        """Stop serving. May be called twice."""
        if self._server is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server = None

    def time_round(self, result: Future[Any]) -> None:
        """Measure a round that opens now; failed rounds do not count."""
        opened_at = time.monotonic()

        def closed(done: Future[Any]) -> None:
            if not done.cancelled() and done.exception() is None:
                self._rounds.observe(time.monotonic() - opened_at)

        result.add_done_callback(closed)


class _OverviewCollector(Collector):
    """Computes metrics from the overview."""

    def __init__(self, overview: Callable[[], Overview]) -> None:
        self._overview = overview

    def describe(self) -> list[Metric]:
        """Nothing: registration must not call a coordinator before its start."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        overview = self._overview()
        yield _run_info(overview)
        yield from _run_metrics(overview)
        yield from _shard_metrics(overview)
        yield from _worker_metrics(overview)
        moved = CounterMetricFamily(
            "mlpeft_bytes",
            "Bytes of messages from workers (up) and to them (down)",
            labels=["direction"],
        )
        moved.add_metric(["up"], overview.bytes_moved.up)
        moved.add_metric(["down"], overview.bytes_moved.down)
        yield moved


def _run_info(overview: Overview) -> Metric:
    info = GaugeMetricFamily(
        "mlpeft_run_info",
        "1; its labels name the run",
        labels=["run", "session", "version"],
    )
    info.add_metric([overview.run, overview.session, __version__], 1)
    return info


def _run_metrics(overview: Overview) -> Iterator[Metric]:
    progress, cluster = overview.progress, overview.cluster
    yield _gauge("mlpeft_iteration", "Meta-iterations done", progress.iteration)
    yield _gauge("mlpeft_iterations", "Meta-iterations of the run", progress.iterations)
    yield _gauge(
        "mlpeft_iterations_per_second",
        "Recent meta-iterations per second; 0 if unknown",
        progress.per_second or 0.0,
    )
    yield _gauge(
        "mlpeft_theta_version",
        "Version of theta in the newest round; -1 before the first",
        -1 if cluster.version is None else cluster.version,
    )
    yield CounterMetricFamily(
        "mlpeft_rounds", "Rounds opened", value=cluster.rounds_opened
    )
    yield _gauge("mlpeft_paused", "1 while paused", int(bool(cluster.paused)))
    yield _gauge(
        "mlpeft_stopping",
        "1 if the run ends after the open round",
        int(overview.stopping),
    )


def _shard_metrics(overview: Overview) -> Iterator[Metric]:
    cluster = overview.cluster
    newest = cluster.rounds_opened  # leases of earlier rounds may go on
    leased = len(
        {
            lease.key.shard
            for lease in cluster.leases
            if lease.key.round_id == newest and cluster.shards
        }
    )
    shards = GaugeMetricFamily(
        "mlpeft_round_shards", "Shards of the open round", labels=["state"]
    )
    shards.add_metric(["in"], cluster.shards_in)
    shards.add_metric(["leased"], leased)
    shards.add_metric(["waiting"], cluster.shards - cluster.shards_in - leased)
    yield shards
    yield CounterMetricFamily(
        "mlpeft_shards", "Updates that counted", value=cluster.counted
    )
    yield CounterMetricFamily(
        "mlpeft_refusals", "Updates that were refused", value=cluster.refused
    )
    yield CounterMetricFamily(
        "mlpeft_backups",
        "Backup leases of slow shards",
        value=cluster.backups,
    )
    failures = CounterMetricFamily(
        "mlpeft_failures", "Failed attempts at shards", labels=["cause"]
    )
    for cause, count in cluster.failures.items():
        failures.add_metric([cause], count)
    yield failures
    audits = CounterMetricFamily(
        "mlpeft_audits", "Shards that were audited", labels=["result"]
    )
    for result, count in cluster.audits.items():
        audits.add_metric([result], count)
    yield audits
    late = CounterMetricFamily(
        "mlpeft_late_updates", "Shards of rounds that had closed", labels=["result"]
    )
    for result, count in cluster.late.items():
        late.add_metric([result], count)
    yield late


def _worker_metrics(overview: Overview) -> Iterator[Metric]:
    workers = overview.cluster.workers
    counts = Counter(worker.state for worker in workers)
    states = GaugeMetricFamily("mlpeft_workers", "Connected workers", labels=["state"])
    for state in WORKER_STATES:
        states.add_metric([state], counts[state])
    yield states
    lag = GaugeMetricFamily(
        "mlpeft_worker_lag_seconds",
        "Seconds since the last message, the longest per name",
        labels=["worker"],
    )
    for name in dict.fromkeys(worker.name for worker in workers):
        silent_s = max(w.silent_s for w in workers if w.name == name)
        lag.add_metric([name], silent_s)
    yield lag


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)

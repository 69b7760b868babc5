"""What does a dashboard cost the coordinator, with nobody looking and with one viewer?

    python -m benchmarks.dashboard --workers 200 --seconds 30
    python -m benchmarks.dashboard --alone --seconds 60     # on a busy machine, too

Real connections of workers that compute nothing (cluster/crowd.py); a round of a shard
each begins every two seconds. The share of a core is the coordinator's process alone,
with the dashboard's thread in it; the viewer is another process, which reads the events
and asks for the charts as a page does. Phases alternate, and medians are shown.

With --alone there is no cluster, but a stage on which every worker changes at every
look: all that is measured is the page.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cluster.crowd import SIZE_BYTES, crowd, raise_limit
from benchmarks.cluster.toy import VIEW, shards_of, theta_of
from mlpeft.cluster.protocol import LeaseKey
from mlpeft.config import RunConfig
from mlpeft.dashboard.monitor import Monitor
from mlpeft.dashboard.needs import server_for
from mlpeft.dashboard.recorder import Recorder
from mlpeft.dashboard.run_folder import RunFolder
from mlpeft.dashboard.sources import Look, OwnCoordinator
from mlpeft.reporting import JsonlReporter
from mlpeft.runtime import fingerprint
from mlpeft.runtime.coordinator.executor import ClusterExecutor, Runtime
from tests.dashboard import staged

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlpeft.cluster.coordinator.messages import (
        CoordinatorCommand,
        CoordinatorEvent,
    )
    from mlpeft.runtime.compute import Prepared
    from mlpeft.transport.rpc.control_codec import Action

EVERY_S = 2.0
"""Seconds from one round to the next."""
CHARTS_S = 10.0
"""Seconds after which a page that is open for a minute asks for its charts again."""
CHARTS = ("loss", "validation", "adaptation", "speed")


def main() -> None:
    """Measure, or look, in the viewer's process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30.0, help="of a phase")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help="without a cluster")
    parser.add_argument("--view", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.view:
        look(arguments.view)
        return
    if arguments.alone:
        with tempfile.TemporaryDirectory() as folder:
            measure_alone(arguments.workers, arguments.seconds, Path(folder))
        return
    raise_limit()
    with tempfile.TemporaryDirectory() as folder:
        measure(arguments.workers, arguments.seconds, arguments.repeats, Path(folder))


def measure(workers: int, seconds: float, repeats: int, folder: Path) -> None:
    """All phases, in turn."""

    def no_local_worker(_config: RunConfig) -> Prepared:
        raise NotImplementedError("workers are processes here")

    recorder, watching = Recorder(), False

    def watch(event: CoordinatorEvent, commands: Sequence[CoordinatorCommand]) -> None:
        if watching:
            recorder(event, commands)

    config = RunConfig.from_dict({"cluster": {"join_port": 0, "lost_after_s": 60}})
    runtime = Runtime(
        config,
        VIEW,
        fingerprint.own_versions(),
        no_local_worker,
        observer=watch,
    )
    address = runtime.start("127.0.0.1", 0)
    reporter = JsonlReporter()
    reporter.start(config, folder, 0)
    monitor = Monitor(OwnCoordinator(runtime, recorder), [RunFolder(folder)])
    server, start = server_for(monitor, "127.0.0.1", authority=None, login=False)
    url = start(0)
    shares: dict[str, list[float]] = {}
    with crowd(address, workers):
        while len(runtime.status().workers) < workers:
            time.sleep(0.2)
        with rounds(runtime, reporter, workers):
            time.sleep(4 * EVERY_S)
            for _ in range(repeats):
                watching = False
                shares.setdefault("no dashboard", []).append(share(seconds))
                watching = True
                shares.setdefault("nobody looks", []).append(share(seconds))
                with viewer(url):
                    shares.setdefault("one viewer", []).append(share(seconds))
        server.close()
        runtime.close("measured")
    for phase, each in shares.items():
        listed = ", ".join(f"{value:.2%}" for value in each)
        print(f"{phase}: {statistics.median(each):.2%} of a core ({listed})")


class Stage:
    """A cluster whose workers all change and finish a shard between two looks."""

    sampled = False

    def __init__(self, workers: int) -> None:
        self._source, self._looks = staged.lab(workers), 0

    def look(self, since: int) -> Look:
        """See `Source.look`."""
        self._looks += 1
        shown, timeline, now = self._source.shown, self._source.timeline, time.time()
        cluster = shown.cluster
        changed = tuple(
            replace(worker, shards_done=self._looks, leases=self._looks % 2)
            for worker in cluster.workers
        )
        for number, worker in enumerate(changed):
            key = LeaseKey("s", self._looks, number, 1)
            timeline.begin(worker.worker, key, now)
            timeline.end(key, now, "in")
        overview = replace(shown, cluster=replace(cluster, workers=changed))
        bars = tuple(timeline.changed_since(since))
        return Look(overview, bars=bars, number=timeline.number)

    def control(self, action: Action, worker: str, who: str) -> str:
        """Nothing: nobody steers a stage."""
        raise NotImplementedError


def measure_alone(workers: int, seconds: float, folder: Path) -> None:
    """The page without a cluster."""
    run = RunFolder(staged.write_run(folder / "run", 3000, 100))
    monitor = Monitor(Stage(workers), [run])
    server, start = server_for(monitor, "127.0.0.1", authority=None, login=False)
    url = start(0)
    time.sleep(2.0)
    print(f"nobody looks: {share(seconds):.2%} of a core")
    with viewer(url):
        print(f"one viewer: {share(seconds):.2%} of a core")
    server.close()


@contextlib.contextmanager
def rounds(runtime: Runtime, reporter: JsonlReporter, workers: int) -> Iterator[None]:
    """A round every `EVERY_S`, until the end of the block."""
    over = threading.Event()

    def work() -> None:
        executor, theta, version = ClusterExecutor(runtime), theta_of(SIZE_BYTES), 0
        while not over.is_set():
            begun = time.monotonic()
            executor.run(version, theta, shards_of(workers, version))
            version += 1
            reporter.iteration(version, {"query_loss": 1.0, "outer_lr": 0.1})
            over.wait(max(0.0, begun + EVERY_S - time.monotonic()))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def viewer(url: str) -> Iterator[None]:
    """A process that looks."""
    command = [sys.executable, "-m", "benchmarks.dashboard", "--view", url]
    with subprocess.Popen(command) as process:
        time.sleep(3.0)  # its first look, of everything, is not what is measured
        yield
        process.kill()


def look(url: str) -> None:
    """Read the events, and ask for the charts whenever there is more to see."""
    drawn_at = 0.0
    with urllib.request.urlopen(f"{url}/events") as events:  # noqa: S310
        for line in events:
            if b'"charts":' in line and time.monotonic() > drawn_at + CHARTS_S:
                drawn_at = time.monotonic()
                for name in CHARTS:
                    with urllib.request.urlopen(f"{url}/chart/{name}.svg") as chart:  # noqa: S310
                        chart.read()


def share(seconds: float) -> float:
    """The share of a core that this process takes for a while."""
    start, used = time.perf_counter(), time.process_time()
    time.sleep(seconds)
    return (time.process_time() - used) / (time.perf_counter() - start)


if __name__ == "__main__":
    main()

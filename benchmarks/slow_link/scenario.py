"""One coordinator, a slow link, and workers behind it."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from benchmarks.slow_link.tun import SlowLink

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Link:
    """A link's figures, as in `SlowLink`."""

    rate_bit_s: float
    delay_s: float = 0.05
    loss: float = 0.0
    seed: int = 0


@dataclass(slots=True)
class Outcome:
    """What came of it.

    Attributes:
        ideal_s: Payload there and back over the bandwidth.
        rounds_s: Seconds of each round.
        moved_bytes: Of all messages of each round, there and back.
        connections: Connections that there were; as many as workers, if none broke.
        failures: Failed leases, by cause.
        waits: What the status said.
        noticed_s: Seconds after which a frozen worker was noticed.
        fetch_s: Seconds that a file of theta's size took, if it was fetched.
        breaks: Connections that broke meanwhile.
    """

    ideal_s: float
    rounds_s: list[float] = field(default_factory=list)
    moved_bytes: list[int] = field(default_factory=list)
    connections: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    waits: list[str] = field(default_factory=list)
    noticed_s: float | None = None
    fetch_s: float | None = None
    breaks: int = 0


@contextlib.contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that does not outlive the block."""
    try:
        yield process
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.5)
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def run(
    link: Link,
    size_bytes: int,
    *,
    workers: int = 1,
    rounds: int = 1,
    freeze: bool = False,
    fetch: bool = False,
    compression: str = "none",
) -> Outcome:
    """Rounds that compute nothing; then the last worker is frozen, if asked for.

    Args:
        link: Between the coordinator and all workers.
        size_bytes: Of theta, and of each update.
        workers: How many.
        rounds: How many.
        freeze: Whether a worker is stopped (SIGSTOP) while theta is on its way to it.
        fetch: Whether a file of the same size is fetched before.
        compression: `cluster.compression` of the run.
    """
    outcome = Outcome(2 * workers * size_bytes * 8 / link.rate_bit_s)
    with contextlib.ExitStack() as stack:
        wire = stack.enter_context(
            SlowLink(link.rate_bit_s, link.delay_s, link.loss, link.seed)
        )
        words = [sys.executable, "-m", "benchmarks.slow_link.head", wire.left.address]
        words += [f"--bytes={size_bytes}", f"--rounds={rounds}"]
        words += [f"--workers={workers}", *(["--freeze"] if freeze else [])]
        words += [f"--compression={compression}"]
        head = subprocess.Popen(
            wire.left.command(words), stdout=subprocess.PIPE, text=True
        )
        stack.enter_context(_ended(head))
        assert head.stdout is not None  # noqa: S101 - it is a pipe
        address = _next(head.stdout)["address"]
        if fetch:
            words = [sys.executable, "-m", "benchmarks.slow_link.fetch", address]
            words.append(str(size_bytes))
            done = subprocess.run(
                wire.right.command(words), check=True, stdout=subprocess.PIPE, text=True
            )
            fetched = json.loads(done.stdout)
            outcome.fetch_s, outcome.breaks = fetched["fetch_s"], fetched["breaks"]
        processes = []
        for index in range(workers):
            words = [sys.executable, "-m", "benchmarks.cluster", "--worker", address]
            words += ["--name", f"w{index}"]
            process = subprocess.Popen(wire.right.command(words), text=True)
            processes.append(stack.enter_context(_ended(process)))
        for _ in range(rounds):
            record = _next(head.stdout)
            outcome.rounds_s.append(record["round_s"])
            outcome.moved_bytes.append(record["moved_bytes"])
        end = _next(head.stdout)
        outcome.connections, outcome.failures = end["connections"], end["failures"]
        outcome.waits = end["waits"]
        if freeze:
            _next(head.stdout)
            frozen_at = time.monotonic()
            processes[-1].send_signal(signal.SIGSTOP)
            outcome.noticed_s = _next(head.stdout)["noticed_at"] - frozen_at
    return outcome


def _next(lines: IO[str]) -> dict[str, Any]:
    line = lines.readline()
    if not line:
        raise RuntimeError("the coordinator ended; its own output says why")
    record: dict[str, Any] = json.loads(line)
    return record

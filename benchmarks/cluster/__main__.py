"""What does the cluster cost, and how soon does it notice a failure?

    python -m benchmarks.cluster                                # all, about ten minutes
    python -m benchmarks.cluster --only rounds --workers 1,4 --bytes 10240,10485760
    python -m benchmarks.cluster --only failures,restart --json cluster.json
    python -m benchmarks.cluster --only rounds --floor SCRIPT   # a floor beside it

- rounds: a round that computes nothing, beside raw gRPC (raw_echo.py) and, with
  --floor, a script that is called with `--workers N --bytes B` and prints JSON lines
  with `seconds`; processor time of the coordinator and of the raw server a round;
  bytes on the wire in payloads a worker (Linux); peak memory.
- tls: the same rounds under mTLS, against the clear.
- events: what an event costs the coordinator's state machine alone, by the number of
  workers (events.py); `--only events --workers 50,1000,10000,50000`.
- crowd: many real connections of workers that compute nothing (crowd.py);
  `--only crowd --workers 100,1000`.
- failures: SIGKILL and SIGSTOP of a worker (failures.py says what is timed).
- restart: kill -9 of the coordinator, and the same command again (restart.py).

Rows are printed as they come; --json keeps them in a file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.cluster import crowd, events, failures, restart, rounds, toy

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTS = ("rounds", "tls", "events", "crowd", "failures", "restart")
Row = dict[str, Any]


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(PARTS), help="parts, by commas")
    parser.add_argument("--workers", default="1,2,4,8")
    parser.add_argument("--bytes", default="10240,1048576,10485760,104857600")
    parser.add_argument("--repeats", type=int, default=3, help="blows of each signal")
    parser.add_argument("--floor", help="another floor script to run beside")
    parser.add_argument("--json", type=Path, help="file for the rows")
    for hidden in ("--worker", "--name", "--identity", "--case", "--crowd"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=0.0, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.crowd:
        first, count = map(int, arguments.crowd.split(":"))
        crowd.work(arguments.worker, first, count)
        return
    if arguments.worker:
        folder = Path(arguments.identity) if arguments.identity else None
        toy.work(arguments.worker, arguments.name, arguments.seconds, folder)
        return
    if arguments.case:
        record = rounds.run_case(
            arguments.case,
            int(arguments.workers),
            int(arguments.bytes),
            arguments.rounds,
        )
        print(json.dumps(record))
        return
    parts = arguments.only.split(",")
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        parser.error(f"--only {','.join(unknown)}: choose from {', '.join(PARTS)}")
    measured: dict[str, list[Row]] = {}
    for part in parts:
        print(f"== {part}", flush=True)
        for row in rows_of(part, arguments):
            measured.setdefault(part, []).append(row)
            print(shown(row), flush=True)
            if arguments.json:
                arguments.json.write_text(json.dumps(measured, indent=1) + "\n")


def rows_of(part: str, arguments: argparse.Namespace) -> Iterator[Row]:
    """The rows of one part, as they are measured."""
    workers = [int(number) for number in arguments.workers.split(",")]
    sizes = [int(number) for number in arguments.bytes.split(",")]
    cases = [(number, size) for size in sizes for number in workers]
    match part:
        case "rounds":
            for number, size in cases:
                yield rounds.measure_round(number, size, arguments.floor)
        case "tls":
            few = [case for case in cases if case[0] in (1, 4)]
            yield from (rounds.measure_tls(number, size) for number, size in few)
        case "events":
            yield from map(events.measure, workers)
        case "crowd":
            yield from map(crowd.measure, workers)
        case "failures":
            for name in ("SIGKILL", "SIGSTOP"):
                yield failures.measure(name, arguments.repeats)
        case "restart":
            yield restart.measure()


def shown(row: Row) -> str:
    """A row as one line: times in milliseconds, sizes in MB."""
    cells = []
    for key, value in row.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            cells.append(f"{key} {value}")
        elif key == "bytes":
            cells.append(f"{value / 1e6:.2f} MB")
        elif key.endswith("_s"):
            cells.append(f"{key.removesuffix('_s')} {value * 1e3:.1f} ms")
        else:
            cells.append(f"{key} {value:.2f}" if value % 1 else f"{key} {value:.0f}")
    return "  ".join(cells)


if __name__ == "__main__":
    main()

"""Do rounds get through a slow link, how fast, and is a frozen worker still noticed?

python -m benchmarks.slow_link                       # the cases of README.md
python -m benchmarks.slow_link --mbit 1 --bytes 4200000 --rounds 1 --freeze
python -m benchmarks.slow_link --compression none,bf16,int8,topk --mbit 1 --rounds 3
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.slow_link.scenario import Link, Outcome, run
from benchmarks.slow_link.tun import obstacle

CASES = ((0.5, 1_000_000), (1.0, 4_200_000), (3.0, 4_200_000), (20.0, 4_200_000))
"""Mbit/s and bytes of theta."""


def shown(rate: float, size_bytes: int, outcome: Outcome) -> str:
    """A line of the table."""
    worst = max(outcome.rounds_s)
    noticed = "-" if outcome.noticed_s is None else f"{outcome.noticed_s:.1f} s"
    fetch = "-" if outcome.fetch_s is None else f"{outcome.fetch_s:.1f} s"
    lost = outcome.failures.get("lost", 0)
    return (
        f"| {rate:g} | {size_bytes / 1e6:g} MB | {worst:.1f} s | "
        f"{outcome.ideal_s:.1f} s | {worst / outcome.ideal_s:.2f} | "
        f"{outcome.connections} | {lost} | {noticed} | {fetch} |"
    )


def compare(rate: float, size_bytes: int, outcomes: dict[str, Outcome]) -> None:
    """A table of rounds by compression: the first sends theta, later ones its steps."""
    print(
        "| Mbit/s | theta | compression | first round | later rounds | bytes of a "
        "later round | of those of none |"
    )
    print("| --- " * 7 + "|")
    base = next(iter(outcomes.values())).moved_bytes[-1]
    for name, outcome in outcomes.items():
        later = sum(outcome.rounds_s[1:]) / len(outcome.rounds_s[1:])
        moved = outcome.moved_bytes[-1]
        print(
            f"| {rate:g} | {size_bytes / 1e6:g} MB | {name} | "
            f"{outcome.rounds_s[0]:.1f} s | {later:.1f} s | {moved / 1e6:.2f} MB | "
            f"{moved / base:.3f} |"
        )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mbit", type=float, help="Mbit/s in each direction")
    parser.add_argument("--bytes", type=int, default=4_200_000)
    parser.add_argument("--rtt", type=float, default=0.1, help="seconds there and back")
    parser.add_argument("--loss", type=float, default=0.01, help="of packets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--freeze", action="store_true", help="SIGSTOP a worker")
    parser.add_argument("--fetch", action="store_true", help="a file as large as theta")
    parser.add_argument("--compression", help="compare these, in a table of their own")
    arguments = parser.parse_args()
    if (reason := obstacle()) is not None:
        sys.exit(f"no slow link here: {reason}")
    if arguments.compression:
        rate, delay_s = arguments.mbit or 1.0, arguments.rtt / 2
        link = Link(rate * 1e6, delay_s, arguments.loss, arguments.seed)
        outcomes = {
            name: run(
                link,
                arguments.bytes,
                workers=arguments.workers,
                rounds=max(2, arguments.rounds),
                compression=name,
            )
            for name in arguments.compression.split(",")
        }
        compare(rate, arguments.bytes, outcomes)
        return
    cases = CASES if arguments.mbit is None else ((arguments.mbit, arguments.bytes),)
    freeze = arguments.freeze or arguments.mbit is None
    fetch = arguments.fetch or arguments.mbit is None
    print(
        "| Mbit/s | theta | round | bytes / bandwidth | ratio | connections | "
        "leases lost | SIGSTOP noticed | file |"
    )
    print("| --- " * 9 + "|")
    for rate, size_bytes in cases:
        delay_s = arguments.rtt / 2
        link = Link(rate * 1e6, delay_s, arguments.loss, arguments.seed)
        outcome = run(
            link,
            size_bytes,
            workers=arguments.workers,
            rounds=arguments.rounds,
            freeze=freeze,
            fetch=fetch,
        )
        print(shown(rate, size_bytes, outcome), flush=True)


if __name__ == "__main__":
    main()

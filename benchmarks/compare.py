"""Hold mlpeft against its peers: every contender in its own process, by turns.

A shared machine is never the same from one minute to the next, so the contenders take
turns, several rounds of them, and a ratio compares what ran side by side. Prints a
Markdown table, and writes every single record as JSON.

    python -m benchmarks --peers DIR --peers-python VENV/bin/python --rounds 5
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 600

PINS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""Variables that hold OpenBLAS to an older processor's kernels; `--keep-pins` keeps
them. PyTorch and JAX bring libraries that do not read them."""


@dataclass(frozen=True, slots=True)
class Case:
    """One workload at one size.

    Attributes:
        name: As in the table.
        arguments: For every contender's script.
        per_s: Meta-iterations a second to expect, about; sets how many are run.
        peers: Script and --impl of each peer.
    """

    name: str
    arguments: tuple[str, ...]
    per_s: float
    peers: tuple[tuple[str, str], ...]


JAX = ("bench_jax.py", "step")
TORCH_BATCHED = ("bench_torchfunc.py", "bmm")
TORCH_VMAP = ("bench_torchfunc.py", "vmap")
TORCH_LOOP = ("bench_torch.py", "")

CASES = (
    Case("W1 H64", ("W1", "--hidden", "64"), 1000, (JAX, TORCH_BATCHED)),
    Case("W1 H256", ("W1", "--hidden", "256"), 200, (JAX, TORCH_BATCHED)),
    Case("W2, 1 thread", ("W2",), 8, (JAX, TORCH_VMAP, TORCH_LOOP)),
    Case(
        "W2, 2 threads",
        ("W2", "--threads", "2"),
        8,
        (JAX, TORCH_VMAP, TORCH_LOOP),
    ),
    Case("W3, 1 task", ("W3",), 250, (JAX, TORCH_BATCHED)),
    Case("W3, 32 tasks", ("W3", "--meta-batch", "32"), 50, (JAX, TORCH_BATCHED)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peers", type=Path, required=True, help="their scripts")
    parser.add_argument("--peers-python", type=Path, required=True, help="their Python")
    parser.add_argument("--only", default="", help="cases by the start of their name")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of one run, about")
    parser.add_argument("--json", type=Path, help="write all records here")
    parser.add_argument("--keep-pins", action="store_true")
    parser.add_argument(
        "--one-core",
        action="store_true",
        help="confine the cases of one thread to one core, as MLX always has one "
        "thread that builds graphs and one that computes",
    )
    args = parser.parse_args()

    wanted = tuple(name.strip() for name in args.only.split(","))
    records: list[dict[str, Any]] = []
    rows = []
    for case in CASES:
        if not case.name.startswith(wanted):
            continue
        own = _rounds(case, args, records)
        rows.append(_row(case.name, own))
        print(rows[-1], file=sys.stderr, flush=True)
    print(HEADER, *rows, sep="\n")
    if args.json:
        args.json.write_text(json.dumps(records, indent=1) + "\n")


def _rounds(
    case: Case, args: argparse.Namespace, records: list[dict[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """All contenders by turns: records by contender, in the order of rounds."""
    ours = [sys.executable, "-m", "benchmarks.meta", "--peers", str(args.peers)]
    contenders = {"mlpeft": ours}
    for script, impl in case.peers:
        name = f"{script.removeprefix('bench_').removesuffix('.py')} {impl}".strip()
        command = [str(args.peers_python), str(args.peers / script)]
        contenders[name] = [*command, *(["--impl", impl] if impl else [])]
    iterations = ["--iters", str(max(3, round(case.per_s * args.seconds)))]
    confine: list[str] = []
    if args.one_core and "--threads" not in case.arguments:
        confine = ["taskset", "--cpu-list", str(max(os.sched_getaffinity(0)))]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    for number in range(args.rounds):
        for name, start in contenders.items():
            command = [*confine, *start, *case.arguments, *iterations]
            record = _run(command, args)
            record |= {"case": case.name, "contender": name, "round": number}
            found[name].append(record)
            records.append(record)
    return found


def _run(command: list[str], args: argparse.Namespace) -> dict[str, Any]:
    """One process; its last line of output is a JSON record."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    if not args.keep_pins:
        for variable in PINS:
            environment.pop(variable, None)
    done = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    record: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return record


HEADER = """\
| workload | mlpeft, it/s: median (best window) | peak MB | peers | ratio to the best |
| --- | --- | --- | --- | --- |"""


def _row(name: str, found: dict[str, list[dict[str, Any]]]) -> str:
    """A line of the table: ours, the best peer, and the ratio of rounds."""

    def median(records: list[dict[str, Any]]) -> float:
        return statistics.median(record["it_per_s"] for record in records)

    def best(records: list[dict[str, Any]]) -> float:
        return max(record["it_per_s_best_window"] for record in records)

    ours = found["mlpeft"]
    peers = [key for key in found if key != "mlpeft"]
    peer = max(peers, key=lambda key: median(found[key]))
    ratio = statistics.median(
        mine["it_per_s"] / theirs["it_per_s"]
        for mine, theirs in zip(ours, found[peer], strict=True)
    )
    others = "; ".join(
        f"{key} {median(found[key]):.4g} ({best(found[key]):.4g})" for key in peers
    )
    return (
        f"| {name} | {median(ours):.4g} ({best(ours):.4g}) "
        f"| {max(record['peak_rss_mb'] for record in ours):.0f} "
        f"| {others} | {ratio:.2f} x {peer} |"
    )


if __name__ == "__main__":
    main()

"""Tell which kinds of language models mlpeft supports, each tried at a small size.

    python -m tools.language_models            # all: writes the table in the docs
    python -m tools.language_models KIND ...   # prints reports of some
    python -m tools.language_models --check    # fast: has the table every kind?

They run in a child process, as some kinds end theirs.
"""

# ruff: noqa: T201, S603 - a script, which starts itself

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlpeft import prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "language_model_kinds.md"
START, END = "<!-- table -->", "<!-- end of table -->"


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    prepare()
    if args.child:
        _report(args.kinds)
        return 0
    if args.check:
        return _check()
    reports = []
    for report in _reports(args.kinds or _all_kinds()):
        reports.append(report)
        print(_row(report), flush=True)
    if not args.kinds:
        _write(reports)
    failed = [report for report in reports if report["failures"]]
    for report in failed:
        print(f"{report['kind']}: {'; '.join(report['failures'])}", file=sys.stderr)
    return 1 if failed else 0


def _all_kinds() -> list[str]:
    from tools.language_models.kinds import all_kinds

    return all_kinds()


def _report(kinds: list[str]) -> None:
    import mlx.core as mx

    # Compiling the fused kernels of so many kinds takes longer than running them.
    mx.disable_compile()
    from tools.language_models.checks import check

    for kind in kinds:
        print(json.dumps(dataclasses.asdict(check(kind))), flush=True)


def _reports(kinds: list[str]) -> Iterator[dict[str, Any]]:
    """Reports of kinds from a child process; a new one after a kind that ends it."""
    while kinds:
        words = [sys.executable, "-m", "tools.language_models", "--child", *kinds]
        with subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT
        ) as child:
            for line in child.stdout or ():
                if line.startswith(b"{"):
                    kinds = kinds[1:]
                    yield json.loads(line)
        if kinds:
            yield _unknown(kinds[0], "ends the process")
            kinds = kinds[1:]


def _unknown(kind: str, reason: str) -> dict[str, Any]:
    from tools.language_models.checks import Report

    return dataclasses.asdict(Report(kind, missing=reason))


def _row(report: dict[str, Any]) -> str:
    if report["missing"]:
        return f"| {report['kind']} | not tried: {report['missing']} | | | | | | |"
    layers = report["layers"]
    shown = ", ".join(layers) if len(layers) < 4 else f"all linear ({len(layers)})"
    losses = report["losses"] or ()
    cells = [
        report["kind"],
        shown,
        f"{report['parameters']:,}",
        ", ".join(report["methods"]),
        _difference(report["frozen"]),
        _difference(report["positions"]),
        " -> ".join(f"{loss:.2f}" for loss in losses),
        "; ".join(_results(report)),
    ]
    return f"| {' | '.join(cells)} |"


def _results(report: dict[str, Any]) -> Iterator[str]:
    """What came of a kind: formats, else why not."""
    yield ", ".join(report["exports"])
    if report["refused"]:
        yield f"training is refused: {report['refused'].partition(',')[0]}"
    yield from map(_short, report["failures"])


def _short(failure: str) -> str:
    return f"fails: {failure.partition('. ')[0]}"


def _difference(value: float | None) -> str:
    return "every step" if value is None else f"{value:.0e}"


def _write(reports: list[dict[str, Any]]) -> None:
    head = (
        "| kind | LoRA's default layers | parameters | methods | frozen layers once | "
        "head at labels | loss, one step | exports |\n"
        "| --- | --- | ---: | --- | --- | --- | --- | --- |"
    )
    table = "\n".join([head, *map(_row, reports)])
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{START}\n{table}\n{END}{after}", encoding="utf-8")


def _check() -> int:
    text = PAGE.read_text(encoding="utf-8")
    missing = [kind for kind in _all_kinds() if f"\n| {kind} |" not in text]
    if missing:
        print(
            f"{PAGE.name} lacks {', '.join(missing)}; run: python -m "
            "tools.language_models",
            file=sys.stderr,
        )
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())

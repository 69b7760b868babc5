"""The results of `algorithms.py` as tables in Markdown."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpeft.meta.algorithms import ALGORITHMS

if TYPE_CHECKING:
    from pathlib import Path

ORDER = ("sinusoid", "digits", "omniglot")
_FILE = re.compile(r"(?P<row>[^-]+)-(?P<key>\w+)-(?P<value>.+)-(?P<seed>\d+)\.json")


def table(out: Path) -> str:
    """What is there: accuracy or loss by problem, and what a step costs."""
    problems = [name for name in ORDER if (out / "results" / name).is_dir()]
    scores = {problem: _scores(out / "results" / problem) for problem in problems}
    known = {row for found in scores.values() for row in found}
    rows = [row for row in ("random", *ALGORITHMS) if row in known]
    lines = [
        "| | " + " | ".join(problems) + " |",
        "| --- |" + " ---: |" * len(problems),
    ]
    for row in rows:
        shown = [scores[problem].get(row, "-") for problem in problems]
        lines.append(f"| {row} | " + " | ".join(shown) + " |")
    files = {name: out / "results" / name / "costs.json" for name in problems}
    costs = {k: json.loads(v.read_text()) for k, v in files.items() if v.is_file()}
    if costs:
        lines += ["", *_costs(costs)]
    return "\n".join(lines)


def _scores(folder: Path) -> dict[str, str]:
    """By algorithm: mean over seeds of the best choice, and their spread."""
    found: dict[str, dict[tuple[str, str], dict[int, dict[str, Any]]]] = {}
    for file in sorted(folder.glob("*.json")):
        match = _FILE.fullmatch(file.name)
        if match:
            row = match["row"].replace("mamlpp", "maml++")
            choice = (match["key"], match["value"])
            seeds = found.setdefault(row, {}).setdefault(choice, {})
            seeds[int(match["seed"])] = json.loads(file.read_text())
    shown = {}
    for row, choices in found.items():
        firsts = {
            choice: seeds[0]["validation"]
            for choice, seeds in choices.items()
            if 0 in seeds
        }
        best = max(firsts, key=lambda choice: firsts[choice])
        shown[row] = _cell(list(choices[best].values()))
    return shown


def _cell(results: list[dict[str, Any]]) -> str:
    """Mean ± standard deviation over seeds; of one seed with its interval of tasks."""
    first = results[0]["test"]
    name, factor, digits = (
        ("acc", 100, 1) if first.get("acc") is not None else ("loss", 1, 3)
    )
    values = factor * np.array([result["test"][name][-1] for result in results])
    unit = " %" if name == "acc" else ""
    if len(values) == 1:
        width = factor * first[f"{name}_ci95"][-1]
        return f"{values[0]:.{digits}f} ({width:.{digits}f}, one seed){unit}"
    count = "" if len(values) == 3 else f" ({len(values)} seeds)"
    spread = values.std(ddof=1)
    return f"{values.mean():.{digits}f} ± {spread:.{digits}f}{unit}{count}"


def _costs(costs: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """Gradients a task, time as a multiple of FOMAML's, memory and size of theta."""
    last = list(costs)[-1]
    times = " | ".join(f"time, {problem}" for problem in costs)
    lines = [
        f"| | gradients a task | {times} | MB, {last} | numbers in theta, {last} |",
        "| --- |" + " ---: |" * (len(costs) + 3),
    ]
    for row, cost in costs[last].items():
        steps = 10 if row == "imaml" else 5
        name: Any = row
        ratios = [
            f"{found[row]['ms'] / found['fomaml']['ms']:.1f}" if row in found else "-"
            for found in costs.values()
        ]
        lines.append(
            f"| {row} | {ALGORITHMS[name].gradients(steps)} | {' | '.join(ratios)} | "
            f"{cost['peak_mb']:.1f} | {cost['numbers']:,.0f} |"
        )
    base = ", ".join(f"{k} {v['fomaml']['ms']:.1f}" for k, v in costs.items())
    return [*lines, "", f"FOMAML's time, ms of processor an iteration: {base}."]

"""The results of `algorithms.py` as tables in Markdown."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

_FILE = re.compile(r"(?P<row>[^-]+)-(?P<key>\w+)-(?P<value>.+)-(?P<seed>\d+)\.json")


def table(out: Path) -> str:
    """What is there: accuracy or loss by problem, and what a step costs."""
    problems = sorted(p.name for p in (out / "results").glob("*") if p.is_dir())
    problems.sort(key=["sinusoid", "digits", "omniglot"].index)
    scores = {problem: _scores(out / "results" / problem) for problem in problems}
    rows = list(dict.fromkeys(row for found in scores.values() for row in found))
    lines = ["| | " + " | ".join(problems) + " |", "| --- |" + " --- |" * len(problems)]
    for row in rows:
        shown = [scores[problem].get(row, "") for problem in problems]
        lines.append(f"| {row} | " + " | ".join(shown) + " |")
    for problem in problems:
        file = out / "results" / problem / "costs.json"
        if file.is_file():
            lines += ["", f"{problem}:", "", *_costs(json.loads(file.read_text()))]
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


def _costs(found: dict[str, dict[str, float]]) -> list[str]:
    base = found["fomaml"]["ms"]
    lines = [
        "| | numbers in theta | ms an iteration | of FOMAML's | peak memory, MB |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for row, cost in found.items():
        lines.append(
            f"| {row} | {cost['numbers']:,.0f} | {cost['ms']:.1f} | "
            f"{cost['ms'] / base:.2f} | {cost['peak_mb']:.1f} |"
        )
    return lines

"""Tables of what is there by now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.when.laboratory import Records
from benchmarks.when.methods import METHODS
from benchmarks.when.problems import PROBLEMS, STEPS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.when.methods import Method

SEEDS = (0, 1, 2)
Z95 = 1.96


@dataclass(frozen=True, slots=True)
class Row:
    """One method's test episodes, of all seeds that are there.

    Attributes:
        scores: (episodes, steps) by seed.
        groups: (episodes,) by seed: which belong together; empty: none do.
        gradients: Of a task.
        seconds: Of one core, mean over seeds.
        choice: What it was trained with.
    """

    scores: dict[int, np.ndarray]
    groups: dict[int, list[str]]
    gradients: int
    seconds: float
    choice: str


def read_rows(out: Path, problem: str) -> dict[str, Row]:
    """What is there of a problem, by method."""
    records = Records(out / f"{problem}.jsonl")
    rows = {}
    for name in METHODS:
        found = {seed: records.get(f"test/{name}/{seed}") for seed in SEEDS}
        done = {seed: record for seed, record in found.items() if record is not None}
        if not done:
            continue
        scores = {
            seed: np.array([r["scores"][str(k)]["score"] for k in STEPS]).T
            for seed, r in done.items()
        }
        rows[name] = Row(
            scores,
            {seed: r["groups"] for seed, r in done.items() if r["groups"]},
            int(next(iter(done.values()))["gradients"]),
            float(np.mean([r["seconds"] for r in done.values()])),
            str(next(iter(done.values()))["choice"]),
        )
    return rows


def difference(row: Row, other: Row, column: int) -> tuple[float, float]:
    """Mean paired difference of scores, and half of its 95 % interval.

    Episodes are paired by task within a seed. Those of one person are averaged first,
    as they are much alike. The interval has the variance between episodes and that
    between seeds, whichever is larger.
    """
    means, variances, counts = [], [], []
    for seed in row.scores.keys() & other.scores.keys():
        paired = row.scores[seed][:, column] - other.scores[seed][:, column]
        if seed in row.groups:
            names = np.array(row.groups[seed])
            paired = np.array([paired[names == n].mean() for n in np.unique(names)])
        means.append(paired.mean())
        variances.append(paired.var(ddof=1))
        counts.append(len(paired))
    within = float(np.mean(variances)) / float(np.sum(counts))
    between = float(np.var(means, ddof=1)) / len(means) if len(means) > 1 else 0.0
    return float(np.mean(means)), Z95 * float(np.sqrt(max(within, between)))


def markdown(out: Path, problems: Sequence[str] = tuple(PROBLEMS)) -> str:
    """All tables, one a problem."""
    return "\n\n".join(
        _table(name, rows) for name in problems if (rows := read_rows(out, name))
    )


def _table(problem: str, rows: dict[str, Row]) -> str:
    about, classes = PROBLEMS[problem].about, PROBLEMS[problem].classes
    what = "accuracy %" if classes else "loss"
    lines = [
        f"### {about[0].upper()}{about[1:]}",
        "",
        f"| start | gradients | seconds | {what} after at most "
        + " | ".join(f"{k}" for k in STEPS)
        + " | against joint, after 1 | 5 | 10 |",
        "| --- |" + " ---: |" * (2 + len(STEPS) + 3),
    ]
    for name, row in rows.items():
        lines.append(_line(METHODS[name], row, rows.get("joint"), classes=classes))
    return "\n".join(lines)


def _line(method: Method, row: Row, joint: Row | None, *, classes: bool) -> str:
    factor = 100.0 if classes else -1.0
    digits = 1 if classes else 3
    means = [np.mean([s[:, k].mean() for s in row.scores.values()]) for k in range(4)]
    cells = [f"{factor * mean:.{digits}f}" for mean in means]
    against = ["", "", ""]
    if joint is not None and row is not joint:
        against = [_against(row, joint, k, factor, digits) for k in (1, 2, 3)]
    count = len(row.scores)
    seeds = "" if count == len(SEEDS) else f" ({count} seed{'s' * (count > 1)})"
    return (
        f"| {method.about}{seeds} | {row.gradients:,} | {row.seconds:.0f} | "
        + " | ".join([*cells, *against])
        + " |"
    )


def _against(row: Row, joint: Row, column: int, factor: float, digits: int) -> str:
    """The gain over joint training; bold where it is beyond its interval."""
    gain, half = difference(row, joint, column)
    gain, half = abs(factor) * gain, abs(factor) * half
    text = f"{gain:+.{digits}f} ± {half:.{digits}f}"
    return f"**{text}**" if abs(gain) > half else text

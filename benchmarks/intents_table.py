"""Scores of few-shot starts: kept in files, shown as tables of paired differences."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpeft.results import half_width

if TYPE_CHECKING:
    from pathlib import Path

STEPS = [0, 1, 5, 10]
K_SHOTS = (1, 5)
STARTS = {
    "centroid": "frozen, nearest centroid",
    "projection": "projection of the frozen embedding",
    "projection_named": "the same, trained as LoRA is",
    "random": "LoRA, random start",
    "joint": "LoRA, jointly trained",
    "reptile": "LoRA, Reptile",
    "fomaml": "LoRA, FOMAML",
}
AGAINST = {
    "centroid": "the centroid",
    "projection": "the projection",
    "joint": "the joint start",
    "random": "the random start",
}
"""What others are held against."""


@dataclass(frozen=True, order=True)
class Setting:
    """What a figure is about: a start, what made it, where and with how many shots.

    Attributes:
        start: One of `STARTS`.
        train_on: Data set.
        test_on: Data set.
        class_split: Which intents are for training, and which for the test.
        k_shot: Examples of each intent.
        named: Whether the names of intents are examples of them, too, at the test.
    """

    start: str
    train_on: str
    test_on: str
    class_split: str
    k_shot: int
    named: bool

    @property
    def name(self) -> str:
        """Names its files."""
        kind = "named" if self.named else "plain"
        where = f"{self.train_on}-{self.test_on}-{self.class_split}"
        return f"{self.start}-{where}-{self.k_shot}-{kind}"

    @classmethod
    def of(cls, name: str) -> Setting:
        """The setting that a file is named after."""
        start, train_on, test_on, class_split, k_shot, kind = name.split("-")
        return cls(start, train_on, test_on, class_split, int(k_shot), kind == "named")


def unadapted(head: str | None) -> str:
    """The folder of scores without inner steps, with class means or another head."""
    return "unadapted" if head is None else f"head-{head}"


def read_scores(file: Path) -> np.ndarray:
    """(episodes, steps); a line that a kill cut short is dropped, from the file too."""
    if not file.is_file():
        return np.zeros((0, len(STEPS)))
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    if len(whole) < len(lines):
        file.write_text("".join(whole), encoding="utf-8")
    rows = [row for line in whole for row in json.loads(line)]
    return np.array(rows) if rows else np.zeros((0, len(STEPS)))


def cells(scores: np.ndarray) -> list[str]:
    """Means and 95 % intervals in %, one for each number of steps."""
    means, widths = 100 * scores.mean(axis=0), 100 * half_width(scores)
    return [f"{m:.1f} ± {w:.1f}" for m, w in zip(means, widths, strict=True)]


class Table:
    """All figures that are there, and paired differences.

    Args:
        out: The folder with the scores.
        folders: Those of its folders that it shows; later ones count where two have
            scores of the same setting.
    """

    def __init__(
        self, out: Path, folders: tuple[str, ...] = ("unadapted", "adapted")
    ) -> None:
        self.out = out
        self.folders = folders

    @cached_property
    def scores(self) -> dict[Setting, np.ndarray]:
        """Accuracies (episodes, steps) by setting."""
        found: dict[Setting, np.ndarray] = {}
        for folder in self.folders:
            for file in sorted((self.out / folder).glob("*.jsonl")):
                setting = Setting.of(file.stem)
                scores = read_scores(file)
                if len(scores) >= max(len(found.get(setting, [])), 1):
                    found[setting] = scores
        return found

    def markdown(self) -> str:
        """A table for each class split, and one of all where there are several."""
        kinds: dict[tuple[str, str, bool], set[str]] = {}
        for one in self.scores:
            kind = (one.train_on, one.test_on, one.named)
            kinds.setdefault(kind, set()).add(one.class_split)
        tables = []
        for kind, splits in sorted(kinds.items()):
            tables += [self._one(*kind, [split]) for split in sorted(splits)]
            if len(splits) > 1:
                tables.append(self._one(*kind, sorted(splits)))
        return "\n\n".join(tables)

    def _one(self, train_on: str, test_on: str, named: bool, splits: list[str]) -> str:
        kind = "with" if named else "without"
        where = f"Trained on {train_on}, tested on {test_on}"
        head = "| start | shots | " + " | ".join(f"step {step}" for step in STEPS)
        lines = [
            f"{where}, {kind} names of intents, class split {', '.join(splits)}:\n",
            f"{head} | {' | '.join(f'to {other}' for other in AGAINST.values())} |",
            "| --- " * (len(STEPS) + 2 + len(AGAINST)) + "|",
        ]
        for k_shot in K_SHOTS:
            for start, title in STARTS.items():
                settings = [
                    Setting(start, train_on, test_on, split, k_shot, named)
                    for split in splits
                ]
                row = self._row(settings)
                if row:
                    lines.append(f"| {title} | {k_shot} | {' | '.join(row)} |")
        return "\n".join(lines)

    def _row(self, settings: list[Setting]) -> list[str]:
        there = [self.scores[one] for one in settings if one in self.scores]
        if len(there) < len(settings):
            return []
        steps = min(scores.shape[1] for scores in there)
        found = cells(np.concatenate([scores[:, :steps] for scores in there]))
        gains = [self._gain(settings, other) for other in AGAINST]
        return [*found, *[""] * (len(STEPS) - steps), *gains]

    def _gain(self, settings: list[Setting], against: str) -> str:
        """Paired difference, each after as many steps as suit it best."""
        others = [replace(one, start=against) for one in settings]
        if settings == others or not all(other in self.scores for other in others):
            return ""
        pairs = [
            (self.scores[one], self.scores[other])
            for one, other in zip(settings, others, strict=True)
        ]
        gain = np.concatenate([_best(a, b) - _best(b, a) for a, b in pairs])
        return f"{100 * gain.mean():+.1f} ± {100 * half_width(gain):.1f}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            setting.name: {
                "episodes": len(scores),
                "steps": STEPS[: scores.shape[1]],
                "acc": scores.mean(axis=0).tolist(),
                "acc_ci95": half_width(scores).tolist(),
            }
            for setting, scores in self.scores.items()
        }


def _best(scores: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(episodes,) that both have, after the number of steps that is best."""
    shared = scores[: len(other)]
    return shared[:, shared.mean(axis=0).argmax()]

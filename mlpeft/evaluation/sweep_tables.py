"""The results of a sweep: for a terminal, as CSV and as LaTeX."""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING, Any

from mlpeft.evaluation.over_seeds import seed_interval
from mlpeft.evaluation.sweep import short
from mlpeft.results import number, percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.table import Table

    from mlpeft.evaluation.sweep import Outcome
    from mlpeft.results import EvalResult

_ESCAPES = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def csv_text(outcomes: Sequence[Outcome]) -> str:
    """One line per training; scores are those after the last inner step."""
    keys = [key for key, _ in outcomes[0].setting.changes]
    scores = [
        f"{part}_{name}"
        for part in ("validation", "test")
        for name in ("acc", "acc_ci95", "loss", "loss_ci95", "episodes")
    ]
    columns = [*keys, "seed", "iterations", "seconds", *scores, "failure", "run_dir"]
    target = io.StringIO()
    writer = csv.DictWriter(target, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_records(outcomes))
    return target.getvalue()


def _records(outcomes: Iterable[Outcome]) -> Iterable[dict[str, Any]]:
    for outcome in outcomes:
        tests = iter(outcome.tests)
        for training in outcome.trainings:
            record = dict(outcome.setting.changes) | {
                "seed": training.seed,
                "iterations": training.iterations,
                "seconds": f"{training.seconds:.1f}",
                "failure": training.failure,
                "run_dir": str(training.run_dir),
            }
            test = None if training.failure else next(tests, None)
            for part, result in (("validation", training.validation), ("test", test)):
                record |= _scores(part, result)
            yield record


def _scores(part: str, result: EvalResult | None) -> dict[str, Any]:
    if result is None:
        return {}
    last = {
        name: values[-1]
        for name in ("acc", "acc_ci95", "loss", "loss_ci95")
        if (values := getattr(result, name)) is not None
    }
    return {f"{part}_{key}": value for key, value in last.items()} | {
        f"{part}_episodes": result.episodes
    }


def latex_text(outcomes: Sequence[Outcome], winner: Outcome | None) -> str:
    """A tabular for the package booktabs; the chosen setting is bold."""
    keys = [short(key) for key, _ in outcomes[0].setting.changes]
    has_tests = any(outcome.tests for outcome in outcomes)
    header = [*map(_escaped, keys), "validation", *["test"] * has_tests]
    lines = [
        rf"\begin{{tabular}}{{{'l' * len(keys)}{'r' * (1 + has_tests)}}}",
        r"\toprule",
        " & ".join(header) + r" \\",
        r"\midrule",
    ]
    for outcome in outcomes:
        cells = [_escaped(value) for _, value in outcome.setting.changes]
        validation, test = score_cells(outcome)
        scores = [validation, test] if has_tests else [validation]
        cells += [_escaped(cell).replace("±", r"$\pm$") for cell in scores]
        if winner is not None and outcome.setting == winner.setting:
            cells = [rf"\textbf{{{cell}}}" if cell else "" for cell in cells]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in text)


def table(outcomes: Sequence[Outcome], winner: Outcome | None) -> Table:
    """A table for rich, one row per setting."""
    from rich.table import Table

    first = outcomes[0]
    seeds = len(first.trainings)
    title = f"{_count(len(outcomes), 'setting')}, {_count(seeds, 'seed')} each"
    view = Table(title=title, caption="± 95 % over seeds" if seeds > 1 else None)
    for key, _ in first.setting.changes:
        view.add_column(short(key), justify="right", overflow="fold")
    for column in ("validation", "test", "seconds"):
        view.add_column(column, justify="right", no_wrap=True)
    view.add_column("")
    for outcome in outcomes:
        chosen = winner is not None and outcome.setting == winner.setting
        values = [value for _, value in outcome.setting.changes]
        cells = [*values, *score_cells(outcome), f"{outcome.seconds:.0f}"]
        note = "chosen" if chosen else _note(outcome)
        view.add_row(*cells, note, style="bold" if chosen else None)
    return view


def score_cells(outcome: Outcome) -> tuple[str, str]:
    """Validation and test as a mean over seeds with its interval; empty if unknown."""
    validations = [
        training.validation
        for training in outcome.trainings
        if training.validation is not None and not training.failure
    ]
    complete = len(validations) == len(outcome.trainings)
    return _mean(validations) if complete else "", _mean(outcome.tests)


def _mean(results: Sequence[EvalResult]) -> str:
    if not results:
        return ""
    if results[0].acc is None:
        return number(*seed_interval([result.loss[-1] for result in results]))
    scores = [result.acc[-1] for result in results if result.acc is not None]
    return percent(*seed_interval(scores))


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def _note(outcome: Outcome) -> str:
    failed = [training.seed for training in outcome.trainings if training.failure]
    if failed:
        return f"seed {failed[0]} failed, see sweep.csv"
    return "not validated" if math.isnan(outcome.score) else ""

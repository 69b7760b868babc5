"""The section with scores on test tasks: table, K-shot curve, adaptation curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.charts.line_chart import LineChart, Series
from mlpeft.charts.svg import Markup, element
from mlpeft.report import parts
from mlpeft.report.scores import (
    STARTS,
    Method,
    final,
    methods,
    shot_rows,
    start_names,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlpeft.dashboard.run_folder import RunFolder
    from mlpeft.report.scores import ShotRow
    from mlpeft.results import EvalResult


def section(folders: Sequence[RunFolder]) -> Markup:
    """Scores of all runs on test tasks."""
    rows = [row for folder in folders for row in shot_rows(folder)]
    if not rows:
        return parts.section(
            "Results on test tasks",
            element("p", "Not evaluated yet. To compare it with baselines, run:"),
            element("pre", f"mlpeft compare --checkpoint {folders[0].path}"),
        )
    grouped = methods(folders)
    result = rows[0].results["meta"]
    scored = "Accuracy in %" if result.acc is not None else "Loss"
    caption = (
        f"{scored} after {result.steps[-1]} inner steps (of the tuned and joint "
        "starts: after as many as suit them best on validation tasks), "
        f"{result.episodes} test episodes each; ± 95 % interval {_over(grouped)}. "
        "Gains are paired: both starts adapt to the same episodes."
    )
    head, body = shots_table(grouped)
    children: list[object] = [parts.table(head, body, caption)]
    charts = [parts.figure(_kshot(grouped, result), "Scores by number of examples K")]
    if len(result.steps) > 1:
        charts.append(_adaptation(rows, result, start_names(folders)))
    children.append(element("div", charts, class_="charts"))
    return parts.section("Results on test tasks", *children)


def _over(grouped: Sequence[Method]) -> str:
    seeds = max(len(method.folders) for method in grouped)
    return "over seeds (Student's t)" if seeds > 1 else "over episodes"


def shots_table(
    grouped: Sequence[Method],
) -> tuple[list[str], list[list[str]]]:
    """The K-shot table: head and rows, for HTML, CSV and LaTeX."""
    rows = [row for m in grouped for f in m.folders for row in shot_rows(f)]
    starts = _ordered({key for row in rows for key in row.results})
    baselines = _ordered({key for row in rows for key in row.gains})
    digits = (
        1 if any(r.acc is not None for row in rows for r in row.results.values()) else 3
    )
    several = len(grouped) > 1
    names = start_names(folder for method in grouped for folder in method.folders)
    head = [
        *(["method"] if several else []),
        "K",
        *(names.get(key, key) for key in starts),
        *(f"gain over {names.get(key, key)}" for key in baselines),
    ]
    body = [
        [
            *([method.name] if several else []),
            f"{k}-shot",
            *(parts.number(method.score(k, key), digits) for key in starts),
            *(
                parts.number(method.gain(k, key), digits, signed=True)
                for key in baselines
            ),
        ]
        for k in sorted({row.k for row in rows})
        for method in grouped
        if method.score(k, "meta") is not None
    ]
    return head, body


def _ordered(keys: set[str]) -> list[str]:
    known = [key for key in STARTS if key in keys]
    return known + sorted(keys - set(known))


def _kshot(grouped: Sequence[Method], result: EvalResult) -> Markup:
    series = []
    names = start_names(grouped[0].folders)
    for method in grouped:
        rows = [row for folder in method.folders for row in shot_rows(folder)]
        shots = sorted({row.k for row in rows})
        keys = _ordered({key for row in rows for key in row.results})
        for key in keys if len(grouped) == 1 else ["meta"]:
            points = [(k, method.score(k, key)) for k in shots]
            known = [(k, value) for k, value in points if value is not None]
            name = names.get(key, key) if len(grouped) == 1 else method.name
            series.append(
                Series(
                    name,
                    [k for k, _ in known],
                    [value.mean for _, value in known],
                    [_clipped(value.mean - value.half, result) for _, value in known],
                    [_clipped(value.mean + value.half, result) for _, value in known],
                )
            )
    return LineChart(
        title="Scores on test tasks by number of examples",
        x_label="K, support examples",
        y_label="accuracy (%)" if result.acc is not None else "loss",
        series=series,
        width=460,
        height=270,
        markers=True,
    ).render()


def _clipped(edge: float, result: EvalResult) -> float:
    """An interval's end, where accuracies can be: few seeds have wide intervals."""
    return edge if result.acc is None else min(max(edge, 0.0), 100.0)


def _adaptation(
    rows: Sequence[ShotRow], result: EvalResult, names: Mapping[str, str]
) -> Markup:
    row = rows[0]
    series = []
    for key in _ordered(set(row.results)):
        each = row.results[key]
        accuracy = each.acc is not None
        mean = [100 * a for a in each.acc or ()] if accuracy else list(each.loss)
        half = (
            [100 * a for a in each.acc_ci95 or ()] if accuracy else list(each.loss_ci95)
        )
        series.append(
            Series(
                names.get(key, key),
                each.steps,
                mean,
                [m - h for m, h in zip(mean, half, strict=True)],
                [m + h for m, h in zip(mean, half, strict=True)],
            )
        )
    chart = LineChart(
        title="Scores along the inner steps",
        x_label="inner gradient steps",
        y_label="accuracy (%)" if result.acc is not None else "loss",
        series=series,
        width=460,
        height=270,
        markers=True,
    )
    value = final(row.results["meta"])
    return parts.figure(
        chart.render(),
        f"Adaptation at K = {row.k}: scores along the inner steps; the "
        f"{names['meta']} start ends at {parts.number(value, 1)}",
    )

"""The page's charts, drawn on demand from what was read of run folders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mlpeft.charts.line_chart import LineChart, Series

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlpeft.dashboard.curve import Curve
    from mlpeft.dashboard.run_folder import RunFolder
    from mlpeft.results import EvalResult

HEIGHT: Final = 232.0
LATEST: Final = 4
"""Validations whose adaptation curves are shown."""


@dataclass(frozen=True, slots=True)
class ChartRequest:
    """What a page wants to see.

    Attributes:
        name: One of `CHARTS`.
        width: In pixels.
        log: Whether the y axis is logarithmic.
        x_range: Meta-iterations; None: all.
    """

    name: str
    width: float = 600.0
    log: bool = False
    x_range: tuple[float, float] | None = None


def draw(request: ChartRequest, folders: Sequence[RunFolder]) -> str:
    """A chart as SVG.

    Raises:
        KeyError: If there is none of that name.
    """
    return CHARTS[request.name](request, folders).render()


def loss(request: ChartRequest, folders: Sequence[RunFolder]) -> LineChart:
    """Training loss, with a band of a standard deviation over neighbours."""
    series = []
    for index, folder in enumerate(folders):
        found = folder.measured.loss()
        if found is not None:
            name = found[0] if len(folders) == 1 else f"{folder.name}: {found[0]}"
            series.append(_of_curve(found[1], name, request, index))
    return LineChart(
        title="Training loss over meta-iterations",
        x_label="meta-iteration",
        y_label="training loss",
        series=series,
        **_frame(request),
    )


def validation(request: ChartRequest, folders: Sequence[RunFolder]) -> LineChart:
    """Scores of validations after all inner steps and, of one run, after none."""
    series = []
    label = "validation accuracy (%)"
    for index, folder in enumerate(folders):
        results = folder.measured.validations
        if not results:
            continue
        last = results[-1][1]
        if last.acc is None:
            label = "validation loss"
        columns = [len(last.steps) - 1]
        if len(folders) == 1 and len(last.steps) > 1:
            columns.append(0)
        for column in columns:
            steps = f"{last.steps[column]} inner steps"
            name = steps if len(folders) == 1 else f"{folder.name}: {steps}"
            style = index if column else 1
            series.append(_of_results(results, column, name, style, request))
    return LineChart(
        title="Validation over meta-iterations, with 95 % intervals",
        x_label="meta-iteration",
        y_label=label,
        series=series,
        markers=True,
        empty="No validation yet",
        **_frame(request),
    )


def adaptation(request: ChartRequest, folders: Sequence[RunFolder]) -> LineChart:
    """Scores over inner steps, of the newest validations: does it learn to learn?"""
    series = []
    label = "accuracy (%)"
    for index, folder in enumerate(folders):
        results = folder.measured.validations
        chosen = results[-1:] if len(folders) > 1 else _spread(results)
        for position, (at, result, _) in enumerate(reversed(chosen)):
            if result.acc is None:
                label = "loss"
            name = f"after {at:,}" if len(folders) == 1 else folder.name
            mean, half = _scores(result)
            series.append(
                Series(
                    name,
                    result.steps,
                    mean,
                    [m - h for m, h in zip(mean, half, strict=True)],
                    [m + h for m, h in zip(mean, half, strict=True)],
                    position if len(folders) == 1 else index,
                )
            )
    return LineChart(
        title="Score over inner steps, at the newest validations",
        x_label="inner gradient steps",
        y_label=label,
        series=series,
        width=request.width,
        height=HEIGHT,
        log=request.log,
        markers=True,
        empty="No validation yet",
    )


def rate(request: ChartRequest, folders: Sequence[RunFolder]) -> LineChart:
    """Meta-iterations per second."""
    series = [
        _of_curve(folder.measured.speed, folder.name, request, index)
        for index, folder in enumerate(folders)
        if folder.measured.speed.count
    ]
    return LineChart(
        title="Meta-iterations per second",
        x_label="meta-iteration",
        y_label="it/s",
        series=series,
        from_zero=True,
        **_frame(request),
    )


def _frame(request: ChartRequest) -> dict[str, Any]:
    return {
        "width": request.width,
        "height": HEIGHT,
        "log": request.log,
        "x_range": request.x_range,
    }


def _of_curve(curve: Curve, name: str, request: ChartRequest, style: int) -> Series:
    points = int(max(40, request.width / 4))
    return curve.series(name, points, request.x_range, style)


def _of_results(
    results: Sequence[tuple[int, EvalResult, float]],
    column: int,
    name: str,
    style: int,
    request: ChartRequest,
) -> Series:
    rows = [(at, *_scores(result)) for at, result, _ in results]
    low, high = request.x_range or (float("-inf"), float("inf"))
    inside = [
        (at, mean[column], half[column])
        for at, mean, half in rows
        if low <= at <= high and column < len(mean)
    ]
    return Series(
        name,
        [row[0] for row in inside],
        [row[1] for row in inside],
        [row[1] - row[2] for row in inside],
        [row[1] + row[2] for row in inside],
        style,
    )


def _spread(
    results: Sequence[tuple[int, EvalResult, float]],
) -> list[tuple[int, EvalResult, float]]:
    """The first validation and the newest, and some in between."""
    if len(results) <= LATEST:
        return list(results)
    last = len(results) - 1
    picked = sorted({round(last * i / (LATEST - 1)) for i in range(LATEST)})
    return [results[i] for i in picked]


def _scores(result: EvalResult) -> tuple[list[float], list[float]]:
    """Accuracy in per cent, or loss, with half widths of 95 % intervals."""
    if result.acc is None or result.acc_ci95 is None:
        return list(result.loss), list(result.loss_ci95)
    return [100 * a for a in result.acc], [100 * a for a in result.acc_ci95]


CHARTS: Final[dict[str, Callable[[ChartRequest, Sequence[RunFolder]], LineChart]]] = {
    "loss": loss,
    "validation": validation,
    "adaptation": adaptation,
    "speed": rate,
}
"""By name, as the page asks for them."""

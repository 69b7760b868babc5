"""Plots of a run: learning curve, adaptation and comparison (extra: plots).

Every function returns a matplotlib Figure; `figure.savefig("x.png")` writes it. Bands
are 95 % intervals. The colours are Okabe and Ito's, safe for colour-blind readers.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mlpeft.errors import DataError, MlpeftError
from mlpeft.reporting.jsonl import FILE_NAME, read_records
from mlpeft.results import EvalResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from mlpeft.evaluation.sinusoid_fit import Fit


class PlotsMissing(MlpeftError, ImportError):  # noqa: N818 - a state, not an error
    """matplotlib (extra `plots`) is not installed."""


try:
    from matplotlib.figure import Figure
except ImportError as error:
    raise PlotsMissing(
        "plots need matplotlib, which is not installed; run "
        "`pip install 'mlpeft[plots]'` (or `pip install matplotlib`)"
    ) from error

BLUE: Final = "#0072B2"
ORANGE: Final = "#E69F00"
GREEN: Final = "#009E73"
GREY: Final = "#666666"
COLOURS: Final = (BLUE, ORANGE, GREEN, "#CC79A7", "#D55E00", "#56B4E9")
MARKERS: Final = ("o", "s", "^", "D", "v", "P")
"""Curves also differ by marker, for print in black and white."""

DASHES: Final = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)), "-", (0, (4, 1)))
"""A line that lies on another is dashed, so that both are seen."""
FORMATS: Final = ("png", "svg", "pdf")

SMOOTH_OVER: Final = 60
"""A training loss of more points gets a smoothed line, too."""
LOSSES: Final = {"query_loss": "query", "support_loss": "support"}
"""The losses of training by their keys in metrics.jsonl, and their labels."""
MAX_POINTS: Final = 400
"""A curve with more points is drawn as means of neighbours."""


def learning_curve(run_dir: str | Path, *, unit: str = "") -> Figure:
    """Training loss and validation over the meta-iterations of a run.

    Args:
        run_dir: The run's folder, with its metrics.jsonl.
        unit: What the loss is, such as cross entropy in nats.

    Raises:
        DataError: If it holds no metrics, or others than training writes.
    """
    path = Path(run_dir) / FILE_NAME
    if not path.is_file():
        raise DataError(
            f"no {FILE_NAME} in {Path(run_dir).absolute()}; give a run's folder, as "
            "`mlpeft train` prints it"
        )
    train: list[dict[str, Any]] = []
    validations: list[tuple[int, EvalResult]] = []
    try:
        for record in read_records(path):
            if record.get("kind") == "train":
                train.append(_numbers(record))
            elif record.get("kind") == "validate":
                result = EvalResult.from_dict(record)
                validations.append((int(record["iteration"]), result))
    except (DataError, LookupError, TypeError, ValueError) as error:
        why = f"no {error}" if isinstance(error, LookupError) else error
        raise DataError(
            f"{path.absolute()} is not what `mlpeft train` writes ({why}); remove the "
            "lines that something else has added"
        ) from error
    if not train and not validations:
        raise DataError(f"{path.absolute()} holds no metrics yet; train first")
    figure = new_figure(height=6.4 if train and validations else 3.6)
    panels = int(bool(train)) + int(bool(validations))
    axes = figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
    if train:
        _draw_losses(axes[0], train)
        axes[0].set_ylabel(f"training loss ({unit})" if unit else "training loss")
    if validations:
        _draw_validations(axes[-1], validations)
    axes[0].set_title(f"Learning curve of {Path(run_dir).resolve().name}")
    axes[-1].set_xlabel("meta-iteration")
    return figure


def adaptation_curve(results: Mapping[str, EvalResult], *, subject: str = "") -> Figure:
    """Accuracy, or loss, of each start over inner gradient steps.

    Args:
        results: By legend label, such as meta-learned and fresh initialisation.
        subject: What is learned, such as digits, 3-way 1-shot.

    Raises:
        DataError: If there are no results.
    """
    _check_not_empty(results)
    figure = new_figure()
    axes = figure.subplots()
    for i, (name, result) in enumerate(results.items()):
        mean, half = _scores(result)
        _curve(axes, i, result.steps, mean, half, name)
    first = next(iter(results.values()))
    _score_axis(axes, first)
    axes.set_xlabel("inner gradient steps on the support set")
    what = subject or "new tasks"
    axes.set_title(f"Adaptation to {what} ({first.episodes} episodes)")
    axes.legend()
    return figure


def kshot_curve(
    results: Mapping[str, Mapping[int, EvalResult]],
    *,
    per_class: bool = False,
    subject: str = "",
) -> Figure:
    """The score of each start after the last step, over the number of examples K.

    Args:
        results: By legend label, then by K.
        per_class: Whether K counts the examples of one class, not all.
        subject: What is learned, such as digits, 3-way.

    Raises:
        DataError: If there are no results.
    """
    _check_not_empty(results)
    figure = new_figure()
    axes = figure.subplots()
    for i, (name, by_k) in enumerate(results.items()):
        _check_not_empty(by_k)
        shots = sorted(by_k)
        pairs = [_scores(by_k[k]) for k in shots]
        mean = [pair[0][-1] for pair in pairs]
        half = [pair[1][-1] for pair in pairs]
        _curve(axes, i, shots, mean, half, name)
    first = next(iter(next(iter(results.values())).values()))
    _score_axis(axes, first)
    axes.set_xticks(sorted({k for by_k in results.values() for k in by_k}))
    axes.set_xlabel(f"K, support examples {'per class' if per_class else 'in total'}")
    taken = {row.steps[-1] for by_k in results.values() for row in by_k.values()}
    steps = f"{'at most ' * (len(taken) > 1)}{max(taken)} inner steps"
    axes.set_title(f"K-shot learning of {subject or 'new tasks'}, {steps}")
    axes.legend()
    return figure


def sinusoid_fits(fits: Sequence[Fit], fresh: Sequence[Fit]) -> Figure:
    """Regression tasks side by side, before and after adaptation.

    Args:
        fits: One for each task, from the meta-learned start.
        fresh: Those of the same tasks from a fresh initialisation.

    Raises:
        DataError: If there are none.
    """
    if not fits:
        raise DataError("nothing to draw: expected at least one fit")
    figure = new_figure()
    figure.set_size_inches(1.5 + 3.2 * len(fits), 4.2)
    row = figure.subplots(1, len(fits), sharex=True, sharey=True, squeeze=False)[0]
    for axes, fit, other in zip(row, fits, fresh, strict=True):
        axes.plot(fit.x, fit.truth, color=GREY, lw=4, alpha=0.4, label="truth")
        axes.plot(fit.x, fit.before, color=ORANGE, ls="--", label="meta-learned start")
        axes.plot(fit.x, fit.after, color=BLUE, lw=2, label="the start, adapted")
        axes.plot(fit.x, other.after, color=GREEN, ls=":", lw=2, label="fresh, adapted")
        axes.scatter(
            *(fit.support_x, fit.support_y),
            color="black",
            s=18,
            zorder=3,
            label="support examples",
        )
        axes.set_xlabel("x")
        style_axes(axes)
    row[0].set_ylabel("y")
    count = fits[0].support_x.size
    figure.suptitle(f"Fits of new sinusoids from {count} examples each")
    handles, labels = row[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def task_map(places: np.ndarray, families: Sequence[str], title: str) -> Figure:
    """Tasks on a plane, near to those that ask for similar things.

    Args:
        places: (tasks, 2), see `mlpeft.tasks.embedding.task_map`.
        families: The family of each task, or what else is to have a colour.
        title: Says what was embedded.
    """
    figure = new_figure()
    axes = figure.subplots()
    for number, family in enumerate(dict.fromkeys(families)):
        chosen = [index for index, name in enumerate(families) if name == family]
        axes.scatter(
            *places[chosen].T,
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            alpha=0.7,
            label=family,
        )
    axes.set_title(title)
    axes.set_xlabel("first principal direction")
    axes.set_ylabel("second")
    axes.legend()
    style_axes(axes)
    return figure


def new_figure(height: float = 4.2) -> Figure:
    """An empty figure without a window or global state."""
    return Figure(figsize=(7.0, height), dpi=150, layout="constrained")


def _numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """What is drawn of a step of training."""
    losses = {key: record[key] for key in LOSSES if record.get(key) is not None}
    return {
        key: float(value)
        for key, value in {"iteration": record["iteration"], **losses}.items()
    }


def _draw_losses(axes: Axes, train: Sequence[Mapping[str, Any]]) -> None:
    for i, (key, label) in enumerate(LOSSES.items()):
        points = [(r["iteration"], r[key]) for r in train if key in r]
        if points:
            iterations, losses = _downsample(np.array(points, dtype=np.float64))
            smooth = len(losses) > SMOOTH_OVER
            style: dict[str, Any] = {"color": COLOURS[i]}
            axes.plot(
                *(iterations, losses),
                lw=0.8 if smooth else 1.2,
                alpha=0.35 if smooth else 1.0,
                label=label,
                **style,
            )
            if smooth:
                smoothed = _smoothed(losses)
                name = f"{label}, smoothed"
                axes.plot(
                    iterations, smoothed, lw=1.8, ls=DASHES[i], label=name, **style
                )
    axes.legend(title="examples")
    style_axes(axes)


def _draw_validations(
    axes: Axes, validations: Sequence[tuple[int, EvalResult]]
) -> None:
    iterations = [iteration for iteration, _ in validations]
    last = validations[-1][1]
    # The last and the first number of steps: full adaptation, and none.
    for i, column in enumerate([len(last.steps) - 1, 0][: len(last.steps)]):
        scores = [_scores(result) for _, result in validations]
        mean = [score[0][column] for score in scores]
        half = [score[1][column] for score in scores]
        steps = last.steps[column]
        _curve(axes, i, iterations, mean, half, f"{steps} inner steps")
    _score_axis(axes, last)
    axes.set_ylabel(f"validation {axes.get_ylabel()}")
    axes.legend(title=f"{last.episodes} episodes, ± 95 %")


def _curve(
    axes: Axes,
    index: int,
    x: Sequence[float],
    mean: Sequence[float],
    half: Sequence[float],
    label: str,
) -> None:
    """Draw a line with its confidence band."""
    colour = COLOURS[index % len(COLOURS)]
    marker = MARKERS[index % len(MARKERS)] if len(x) <= 40 else None
    middle = np.asarray(mean)
    width = np.nan_to_num(np.asarray(half), nan=0.0)
    axes.plot(
        *(x, middle),
        color=colour,
        ls=DASHES[index % len(DASHES)],
        marker=marker,
        ms=5,
        mec="white",
        mew=0.6,
        lw=1.8,
        label=label,
    )
    axes.fill_between(x, middle - width, middle + width, color=colour, alpha=0.2, lw=0)


def _scores(result: EvalResult) -> tuple[Sequence[float], Sequence[float]]:
    """Accuracy in per cent, or loss, with the half widths of the intervals."""
    if result.acc is None or result.acc_ci95 is None:
        return result.loss, result.loss_ci95
    return [100 * a for a in result.acc], [100 * a for a in result.acc_ci95]


def _score_axis(axes: Axes, result: EvalResult) -> None:
    axes.set_ylabel("loss" if result.acc is None else "accuracy (%)")
    style_axes(axes)


def style_axes(axes: Axes) -> None:
    """Draw the grid behind the curves and leave out the upper and right frame."""
    axes.grid(visible=True, color="#DDDDDD", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _downsample(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns of (n, 2) points, as means of neighbours beyond `MAX_POINTS`."""
    size = math.ceil(len(points) / MAX_POINTS)
    starts = np.arange(0, len(points), size)
    counts = np.diff(np.append(starts, len(points)))[:, None]
    means = np.add.reduceat(points, starts, axis=0) / counts
    return means[:, 0], means[:, 1]


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Means over a window of a twentieth, which shrinks towards the ends."""
    reach = max(1, len(values) // 40)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    middle = np.arange(len(values))
    first = np.maximum(middle - reach, 0)
    last = np.minimum(middle + reach + 1, len(values))
    return np.asarray((sums[last] - sums[first]) / (last - first))


def _check_not_empty(results: Mapping[Any, Any]) -> None:
    if not results:
        raise DataError("nothing to draw: expected at least one result")

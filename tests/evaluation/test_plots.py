"""Pictures: what is drawn where, and what is said when nothing can be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlpeft.errors import DataError
from mlpeft.evaluation import plots
from mlpeft.evaluation.sinusoid_fit import Fit
from mlpeft.results import EvalResult


def result(acc: float | None = 0.9) -> EvalResult:
    return EvalResult(
        steps=(0, 5),
        loss=(1.0, 0.3),
        loss_ci95=(0.1, 0.02),
        episodes=50,
        acc=None if acc is None else (0.2, acc),
        acc_ci95=None if acc is None else (0.01, 0.01),
    )


def write_metrics(folder: Path, iterations: int, evaluation: EvalResult) -> None:
    lines = []
    for i in range(1, iterations + 1):
        lines.append({"kind": "train", "iteration": i, "support_loss": 1 / i})
        if i % 10 == 0:
            lines.append({"kind": "validate", "iteration": i, **evaluation.to_dict()})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text)


def lines_of(axes) -> dict[str, np.ndarray]:
    """(n, 2) points of every labelled line."""
    return {line.get_label(): line.get_xydata() for line in axes.get_lines()}


def bands_of(axes) -> list[np.ndarray]:
    """Corners of every band of uncertainty."""
    return [band.get_paths()[0].vertices for band in axes.collections]


def test_a_learning_curve_has_losses_above_and_validation_below(tmp_path: Path) -> None:
    write_metrics(tmp_path, 30, result())
    upper, lower = plots.learning_curve(tmp_path).axes
    assert upper.get_ylabel() == "training loss"
    assert lines_of(upper)["support"][3].tolist() == [4.0, 0.25]
    assert lower.get_xlabel() == "meta-iteration"
    assert lower.get_ylabel() == "validation accuracy (%)"
    curves = lines_of(lower)
    assert curves["5 inner steps"].tolist() == [[10, 90], [20, 90], [30, 90]]
    assert curves["0 inner steps"].tolist() == [[10, 20], [20, 20], [30, 20]]


def test_a_regressions_learning_curve_shows_loss(tmp_path: Path) -> None:
    write_metrics(tmp_path, 10, result(acc=None))
    assert plots.learning_curve(tmp_path).axes[1].get_ylabel() == "validation loss"


def test_a_long_run_is_drawn_as_means_of_neighbours(tmp_path: Path) -> None:
    """1000 points become 334 means of three (the last of one), in their order."""
    write_metrics(tmp_path, 1000, result())
    drawn = lines_of(plots.learning_curve(tmp_path).axes[0])["support"]
    assert len(drawn) == 334
    assert drawn[0] == pytest.approx([2.0, (1 + 1 / 2 + 1 / 3) / 3])
    assert drawn[-1] == pytest.approx([1000.0, 1 / 1000])


def test_metrics_with_null_and_half_a_line_can_be_drawn(tmp_path: Path) -> None:
    write_metrics(tmp_path, 10, result())
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "iteration": 11, "support_loss": null}\n{"ki')
    assert len(lines_of(plots.learning_curve(tmp_path).axes[0])["support"]) == 10


@pytest.mark.parametrize("text", [None, ""])
def test_a_folder_without_metrics_is_told_with_its_path(
    tmp_path: Path, text: str | None
) -> None:
    if text is not None:
        (tmp_path / "metrics.jsonl").write_text(text)
    with pytest.raises(DataError, match=str(tmp_path)):
        plots.learning_curve(tmp_path)


def test_adaptation_curves_carry_their_intervals() -> None:
    figure = plots.adaptation_curve({"meta-learned": result(), "fresh": result(0.4)})
    (axes,) = figure.axes
    assert lines_of(axes)["fresh"].tolist() == [[0, 20], [5, 40]]
    heights = [band[:, 1] for band in bands_of(axes)]
    assert heights[0].min() == pytest.approx(19)
    assert heights[0].max() == pytest.approx(91)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["meta-learned", "fresh"]


def test_an_interval_that_is_not_known_is_not_drawn() -> None:
    one = EvalResult.from_per_episode([0, 1], np.array([[1.0, 0.5]]))
    (axes,) = plots.adaptation_curve({"one episode": one}).axes
    assert np.isfinite(bands_of(axes)[0]).all()


def test_kshot_curves_go_over_k_in_order() -> None:
    by_k = {10: result(0.95), 1: result(0.5)}
    (axes,) = plots.kshot_curve({"meta-learned": by_k}).axes
    assert lines_of(axes)["meta-learned"] == pytest.approx(
        np.array([[1, 50], [10, 95]])
    )
    assert axes.get_xticks().tolist() == [1, 10]
    assert axes.get_ylabel() == "accuracy (%)"


@pytest.mark.parametrize(
    ("per_class", "said"), [(True, "per class"), (False, "in total")]
)
def test_the_axis_of_k_says_what_k_counts(per_class, said) -> None:
    by_k = {1: result(0.5)}
    (axes,) = plots.kshot_curve({"meta-learned": by_k}, per_class=per_class).axes
    assert axes.get_xlabel() == f"K, support examples {said}"


def test_the_title_says_so_if_starts_took_different_numbers_of_steps() -> None:
    ten = EvalResult((0, 10), (1.0, 0.3), (0.1, 0.1), 9, (0.2, 0.9), (0.1, 0.1))
    five = EvalResult((0, 5), (1.0, 0.3), (0.1, 0.1), 9, (0.2, 0.8), (0.1, 0.1))
    (alike,) = plots.kshot_curve({"a": {1: ten}, "b": {1: ten}}).axes
    assert alike.get_title() == "K-shot learning of new tasks, 10 inner steps"
    (other,) = plots.kshot_curve({"a": {1: ten}, "b": {1: five}}).axes
    assert other.get_title() == "K-shot learning of new tasks, at most 10 inner steps"


def test_nothing_to_draw_is_an_error_and_no_empty_picture() -> None:
    with pytest.raises(DataError, match="nothing to draw"):
        plots.adaptation_curve({})
    with pytest.raises(DataError, match="nothing to draw"):
        plots.kshot_curve({"meta-learned": {}})


def test_sinusoid_fits_show_truth_start_fresh_baseline_and_examples() -> None:
    x = np.linspace(-5, 5, 20)
    fit = Fit(x, np.sin(x), 0 * x, 0.9 * np.sin(x), x[:5], x[:5])
    figure = plots.sinusoid_fits([fit, fit, fit], [fit, fit, fit])
    assert len(figure.axes) == 3
    for axes in figure.axes:
        starts = {"meta-learned start", "the start, adapted", "fresh, adapted"}
        assert set(lines_of(axes)) == {"truth", *starts}
        assert len(axes.collections[0].get_offsets()) == 5
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 5
    with pytest.raises(DataError, match="nothing to draw"):
        plots.sinusoid_fits([], [])


def test_without_matplotlib_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "try:\n    import mlpeft.evaluation.plots\n"
        "except ImportError as error:\n    print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("PlotsMissing")
    assert "pip install 'mlpeft[plots]'" in done.stdout


def test_a_long_loss_is_smoothed_without_moving_its_level(tmp_path: Path) -> None:
    write_metrics(tmp_path, 100, result())
    curves = lines_of(plots.learning_curve(tmp_path, unit="nats").axes[0])
    raw, smooth = curves["support"][:, 1], curves["support, smoothed"][:, 1]
    # The window reaches two points to both sides.
    assert smooth[50] == pytest.approx(raw[48:53].mean())
    assert smooth[-1] == pytest.approx(raw[-3:].mean())


def test_lines_that_coincide_differ_in_dashes_and_markers() -> None:
    same = {"meta-learned": result(), "fresh": result()}
    (axes,) = plots.adaptation_curve(same, subject="digits, 3-way 1-shot").axes
    one, other = axes.get_lines()
    assert one.get_linestyle() != other.get_linestyle()
    assert one.get_marker() != other.get_marker()
    assert axes.get_title() == "Adaptation to digits, 3-way 1-shot (50 episodes)"

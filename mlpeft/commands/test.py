"""`mlpeft test`: what an adapter is worth on labelled texts that it has not seen."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mlpeft.commands.options import Json
from mlpeft.commands.progress import progress_bar
from mlpeft.errors import DataError
from mlpeft.files import unlink_link

if TYPE_CHECKING:
    from rich.table import Table

    from mlpeft.adapters.classification_report import ClassificationReport

FORMATS: Final = ("png", "svg")
FIGURES: Final = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "mcc": "MCC",
    "in_scope_accuracy": "in-scope accuracy, nothing rejected",
    "in_scope_accuracy_rejecting": "in-scope accuracy",
    "out_of_scope_recall": "out-of-scope recall",
    "out_of_scope_auroc": "out-of-scope AUROC",
    "ece": "ECE",
    "confidence": "mean confidence",
}
"""What is printed, in this order, and its name."""
_PLAIN: Final = ("macro_f1", "micro_f1", "mcc", "out_of_scope_auroc")
"""Figures that are not shown in per cent."""
_SHOWN: Final = (*(number / 10 for number in range(10)), 0.95, 0.99)
"""Thresholds in the table; report.json has more."""
_OF_REJECTION: Final = ("in_scope_accuracy", "in_scope_accuracy_rejecting")


def test(
    adapter: Annotated[
        Path,
        typer.Option(
            "--adapter",
            help="Folder that `mlpeft adapt` or TextClassifier.save wrote.",
            show_default=False,
        ),
    ],
    data: Annotated[
        Path,
        typer.Option(
            help="A .csv, .tsv, .json or .jsonl file of texts with their labels, which "
            "the adapter has not seen.",
            show_default=False,
        ),
    ],
    weights: Annotated[
        str | None,
        typer.Option(
            help="Folder of the base's weights.", show_default="where they were"
        ),
    ] = None,
    out_of_scope: Annotated[
        str | None,
        typer.Option(
            metavar="LABEL",
            help="The label in the data of texts that have none of the adapter's.",
            show_default="every label that the adapter does not know",
        ),
    ] = None,
    reject_below: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help='Confidence below which a text is "none of these".',
            show_default="the adapter's",
        ),
    ] = None,
    text_column: Annotated[
        str, typer.Option(help="The column, or key, of the texts.")
    ] = "text",
    label_column: Annotated[
        str, typer.Option(help="The column, or key, of the labels.")
    ] = "label",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder for pictures (PNG and SVG), report.json, the confusion matrix "
            "and all wrong answers as CSV.",
            show_default=False,
        ),
    ] = None,
    worst: Annotated[
        int, typer.Option(min=0, help="Wrong answers to show, the most confident.")
    ] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap intervals.")] = 0,
    json_output: Json = False,
) -> None:
    """Score an adapter on labelled texts: accuracy, F1, MCC, calibration, rejection.

    Intervals are 95 %, by bootstrap over the texts.
    """
    from mlpeft.adapters.classification_report import report
    from mlpeft.adapters.classifier import NONE_OF_THESE
    from mlpeft.adapters.completer import Completer
    from mlpeft.adapters.labelled import read_examples
    from mlpeft.adapters.store import load_adapter

    if output is not None:
        _make_folder(output)
    found = load_adapter(adapter, weights)
    if isinstance(found, Completer):
        raise DataError(
            f"{adapter} is of a language model, which completes prompts; mlpeft test "
            "takes an adapter that labels texts"
        )
    texts, wanted, _ = read_examples(
        data, text_column=text_column, label_column=label_column
    )
    with progress_bar("test", len(texts), "texts") as advance:
        probabilities = found.probabilities(texts, advance)
    tested = report(
        texts,
        wanted,
        probabilities,
        found.labels,
        multi_label=found.multi_label,
        reject_below=found.reject_below if reject_below is None else reject_below,
        out_of_scope=out_of_scope,
        none_label=found.none_label or NONE_OF_THESE,
        seed=seed,
        worst=len(texts),
    )
    if output is not None:
        _write(tested, output)
    if json_output:
        record = tested.to_dict()
        record["worst"] = record["worst"][:worst]
        typer.echo(json.dumps(record, ensure_ascii=False))
    else:
        _tell(tested, out_of_scope, worst)
    if output is not None:
        typer.echo(f"Written to {output}", err=True)


def _make_folder(output: Path) -> None:
    """Say before the work if pictures cannot be drawn, or written there."""
    import mlpeft.evaluation.classifier_plots  # noqa: F401 - whether there is matplotlib

    if output.exists() and not output.is_dir():
        raise typer.BadParameter("it is a file; give a folder", param_hint="--output")
    output.mkdir(parents=True, exist_ok=True)


def _tell(tested: ClassificationReport, out_of_scope: str | None, worst: int) -> None:
    from mlpeft.reporting.terminal import output_console

    if tested.unknown and out_of_scope is None:
        _tell_unknown(tested)
    print_ = output_console().print
    print_(_figures_table(tested))
    best = tested.figures.get("best_mcc")
    if best is not None:
        below = tested.figures["best_mcc_below"]
        print_(
            f"On these texts MCC would be best, {best:.3f}, rejecting below "
            f"{below:.3g}: a figure to compare with, not to report"
        )
    if tested.thresholds:
        print_(_thresholds_table(tested))
    if tested.confused:
        print_(_confused_table(tested))
    if tested.worst and worst:
        print_(_worst_table(tested.worst[:worst]))


def _tell_unknown(tested: ClassificationReport) -> None:
    names = sorted(tested.unknown, key=lambda name: -tested.unknown[name])
    several = f" and {len(names) - 5} more" if len(names) > 5 else ""
    what = "out of scope" if tested.names else "missed"
    typer.echo(
        f"Labels that the adapter does not know count as {what} "
        f"({sum(tested.unknown.values()):,} of {tested.figures['texts']:,} texts): "
        f"{', '.join(map(repr, names[:5]))}{several}",
        err=True,
    )


def _figures_table(tested: ClassificationReport) -> Table:
    from rich.table import Table

    figures = tested.figures
    outside = figures.get("out_of_scope_texts", 0)
    title = f"Texts: {figures['texts']:,}"
    title += f", {outside:,} of them out of scope" if outside else ""
    below = figures.get("reject_below", 0)
    title += f", rejecting below {below:.3g}" if below else ""
    table = Table(title=title)
    table.add_column("measure")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    for name, called in FIGURES.items():
        # Without rejection and texts out of scope they are the accuracy.
        if name in _OF_REJECTION and not (outside or below):
            continue
        if name in figures:
            low, high = tested.intervals.get(name, (figures[name],) * 2)
            table.add_row(
                called,
                _value(name, figures[name]),
                f"{_value(name, low)} to {_value(name, high)}",
            )
    return table


def _value(name: str, value: float) -> str:
    return f"{value:.3f}" if name in _PLAIN else f"{100 * value:.1f} %"


def _thresholds_table(tested: ClassificationReport) -> Table:
    from rich.table import Table

    table = Table(title="By the confidence below which a text is rejected")
    for name in (
        "below",
        "in-scope accuracy",
        "out-of-scope recall",
        "accuracy",
        "MCC",
    ):
        table.add_column(name, justify="right")
    own = tested.figures["reject_below"]
    for row in tested.thresholds:
        below = row["reject_below"]
        if below not in (*_SHOWN, own):
            continue
        table.add_row(
            f"{below:.3g}" + (" *" if below == own else ""),
            f"{100 * row['in_scope_accuracy']:.1f} %",
            f"{100 * row['out_of_scope_recall']:.1f} %",
            f"{100 * row['accuracy']:.1f} %",
            f"{row['mcc']:.3f}",
        )
    table.caption = "* as tested"
    return table


def _confused_table(tested: ClassificationReport) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Most confused")
    table.add_column("label", overflow="fold")
    table.add_column("predicted", overflow="fold")
    table.add_column("texts", justify="right")
    for pair in tested.confused[:8]:
        names = Text(pair["label"]), Text(pair["predicted"])
        table.add_row(*names, str(pair["texts"]))
    return table


def _worst_table(worst: list[dict[str, Any]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Wrong answers with most confidence")
    table.add_column("", justify="right", no_wrap=True)
    for name in ("label", "predicted", "text"):
        table.add_column(name, overflow="fold")
    for row in worst:
        table.add_row(
            f"{100 * row['confidence']:.1f} %",
            *(Text(_names(row[key])) for key in ("label", "predicted", "text")),
        )
    return table


def _names(value: str | list[str]) -> str:
    return value if isinstance(value, str) else ", ".join(value) or "none"


def _write(tested: ClassificationReport, output: Path) -> None:
    from mlpeft.evaluation import classifier_plots as plots

    figures = {
        "reliability": plots.reliability(tested.reliability, tested.figures.get("ece"))
    }
    if tested.names:
        figures["confusion_matrix"] = plots.confusion_matrix(
            tested.confusion, tested.names
        )
        rows = [["label", *tested.names]]
        for name, row in zip(tested.names, tested.confusion.tolist(), strict=True):
            rows.append([name, *row])
        _write_csv(output / "confusion_matrix.csv", rows)
    if tested.thresholds:
        chosen = tested.figures["reject_below"]
        figures["rejection"] = plots.rejection_curve(tested.thresholds, chosen)
    for name, figure in figures.items():
        for kind in FORMATS:
            file = output / f"{name}.{kind}"
            unlink_link(file)
            figure.savefig(file)
    columns = ["text", "label", "predicted", "confidence"]
    wrong = [[_names(row[key]) for key in columns[:3]] for row in tested.worst]
    sure = [round(row["confidence"], 4) for row in tested.worst]
    rows = [[*row, share] for row, share in zip(wrong, sure, strict=True)]
    _write_csv(output / "wrong.csv", [columns, *rows])
    text = json.dumps(tested.to_dict(), indent=1, ensure_ascii=False) + "\n"
    unlink_link(output / "report.json")
    (output / "report.json").write_text(text, encoding="utf-8")


def _write_csv(path: Path, rows: list[list[Any]]) -> None:
    unlink_link(path)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)

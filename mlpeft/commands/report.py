"""`mlpeft report`: a run, or several, as one HTML file that one can send."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlpeft.commands.options import AllowModule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.dashboard.run_folder import RunFolder

NAME = "report.html"


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Folders of runs, as `mlpeft train` prints them, or of a queue: those "
            "of its runs that are done. Runs that differ in their seed alone count as "
            "one method."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The HTML file.",
            show_default="report.html in the run's folder; of several, here",
        ),
    ] = None,
    pdf: Annotated[
        bool,
        typer.Option("--pdf", help="Print it to PDF, too (needs Chromium or Chrome)."),
    ] = False,
    csv: Annotated[
        bool, typer.Option("--csv", help="Print the K-shot table as CSV instead.")
    ] = False,
    latex: Annotated[
        bool, typer.Option("--latex", help="Print the K-shot table as LaTeX instead.")
    ] = False,
    failures: Annotated[
        bool,
        typer.Option(
            "--failures/--no-failures",
            help="Look for what a run gets wrong on its first test episodes.",
        ),
    ] = True,
    allow_module: AllowModule = None,
) -> None:
    """Write a report: what was trained on what, how well it learns, how to repeat it.

    Scores come from `mlpeft compare` and `mlpeft evaluate`; run them first. Several
    seeds are averaged, and methods compared in one table and plot.
    """
    from mlpeft.dashboard.run_folder import RunFolder
    from mlpeft.queue.entry import State
    from mlpeft.queue.store import with_queues
    from mlpeft.report import tables

    if csv and latex:
        raise typer.BadParameter("--csv and --latex exclude each other")
    folders = [RunFolder(path) for path in with_queues(runs, State.DONE)]
    for folder in folders:
        folder.read()
    if csv or latex:
        text = tables.as_csv(folders) if csv else tables.as_latex(folders)
        typer.echo(text, nl=False)
        return
    path = output or (folders[0].path / NAME if len(folders) == 1 else Path(NAME))
    for written in write(
        folders, path, pdf=pdf, failures=failures, allow_modules=allow_module or ()
    ):
        typer.echo(f"Written to {written}")
    typer.echo(f"Open it: {path.absolute().as_uri()}")


def write(
    folders: Sequence[RunFolder],
    path: Path,
    *,
    pdf: bool = False,
    failures: bool = True,
    allow_modules: Sequence[str] = (),
) -> list[Path]:
    """Write a report; the files that were written.

    Args:
        folders: The runs; they were read.
        path: The HTML file.
        pdf: Whether to print it, too.
        failures: Whether to analyse what runs get wrong.
        allow_modules: See `load_trained`.

    Raises:
        MlpeftError: If there is nothing to report, or no browser prints.
    """
    from mlpeft.errors import DataError
    from mlpeft.files import unlink_link
    from mlpeft.report.page import render

    if pdf:
        from mlpeft.report.pdf import browser, print_pdf

        browser()
    for folder in folders:
        if folder.config is None and not folder.measured.version:
            raise DataError(
                f"nothing to report in {folder.path.absolute()}: expected config.yaml "
                "and metrics.jsonl; is it the folder of a run?"
            )
    found = _failures(folders, allow_modules) if failures else {}
    text = render(folders, found)
    path.parent.mkdir(parents=True, exist_ok=True)
    unlink_link(path)
    path.write_text(text, encoding="utf-8")
    if not pdf:
        return [path]
    printed = path.with_suffix(".pdf")
    print_pdf(path, printed)
    return [path, printed]


def _failures(
    folders: Sequence[RunFolder], allow_modules: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """By run, what it gets wrong; what cannot be analysed is said and left out."""
    from mlpeft.commands.progress import progress_bar
    from mlpeft.errors import MlpeftError
    from mlpeft.report import failures
    from mlpeft.training.trained import load_trained

    found = {}
    for folder in folders:
        try:
            trained = load_trained(folder.path, allow_modules=allow_modules)
            record = failures.read(folder.path, trained, failures.EPISODES)
            if record is None:
                title = f"Looking for failures of {folder.name}"
                with progress_bar(title, failures.EPISODES, "episodes") as advance:
                    record = failures.analyse(trained, progress=advance)
                if record is not None:
                    failures.save(folder.path, record)
        except (MlpeftError, FileNotFoundError) as error:
            typer.echo(f"{folder.name}: failures are not shown: {error}", err=True)
            continue
        if record is not None:
            found[folder.name] = record
    return found

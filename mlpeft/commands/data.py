"""`mlpeft data`: which data there is, whether it is whole, and how to get it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlpeft.commands.options import Json
from mlpeft.datasets.catalogue import CATALOGUE, data_set
from mlpeft.datasets.folders import target_folder
from mlpeft.datasets.text_files import TEXT_KEYS, is_pairs_file
from mlpeft.datasets.verify import Report, State, verify, verify_own

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from mlpeft.datasets.catalogue import DataSet
    from mlpeft.datasets.fetch import Progress

app = typer.Typer(
    help="List, check and get the data sets that tasks draw from.", no_args_is_help=True
)

DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Data folder: new data go there, and it is looked into first; then "
        "MLPEFT_DATA_DIR, data and ../shared/data.",
        show_default="MLPEFT_DATA_DIR, else data",
    ),
]
Name = Annotated[
    str, typer.Argument(help="A data set, as `mlpeft data list` names it.")
]
_COLOURS = {
    State.WHOLE: "green",
    State.USABLE: "green",
    State.DAMAGED: "red",
    State.MISSING: "yellow",
}


@app.command("list")
def list_(data_dir: DataDir = None, json_output: Json = False) -> None:
    """Show the kinds of task and the data sets, and which of them are here."""
    from mlpeft.tasks.families import FAMILIES

    reports = [verify(known, data_dir) for known in CATALOGUE.values()]
    if json_output:
        families = [
            {"name": name, "about": entry.about, "task_params": entry.task_params}
            for name, entry in FAMILIES.items()
        ]
        listed = {"task_families": families, "data_sets": _records(reports)}
        typer.echo(json.dumps(listed, indent=1))
        return
    from rich.console import Console

    console = Console(highlight=False)
    kinds = _table("task family", "what its tasks are", "task_params")
    for name, entry in FAMILIES.items():
        kinds.add_row(name, entry.about, entry.task_params)
    sets = _table("data set", "state", "what it is", "licence")
    for report in reports:
        known = CATALOGUE[report.name]
        sets.add_row(known.name, _coloured(report), known.about, known.licence)
    console.print(kinds, "", sets)


@app.command("verify")
def verify_(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Which data sets, or a .jsonl or .csv of your own labelled texts; "
            "left out: all data sets that are here."
        ),
    ] = None,
    data_dir: DataDir = None,
    text_key: Annotated[
        str, typer.Option(help="Your own file's key or column of the text.")
    ] = TEXT_KEYS[0],
    label_key: Annotated[
        str, typer.Option(help="Your own file's key or column of the label.")
    ] = TEXT_KEYS[1],
    json_output: Json = False,
) -> None:
    """Check that data sets are whole. Exit code 1 if one that is asked for is not."""
    reports = [
        verify_own(Path(name), (text_key, label_key))
        if is_pairs_file(name)
        else verify(data_set(name), data_dir)
        for name in names or CATALOGUE
    ]
    bad = {State.DAMAGED, State.MISSING} if names else {State.DAMAGED}
    if json_output:
        typer.echo(json.dumps(_records(reports), indent=1))
    else:
        from rich.console import Console

        console = Console(highlight=False, soft_wrap=True)
        for report in reports:
            where = ", ".join(map(str, report.paths))
            line = f"{report.name:10} {_coloured(report)}  {where}"
            console.print(line.rstrip())
            if report.detail:
                console.print(f"{'':10} {report.detail}", markup=False)
    if any(report.state in bad for report in reports):
        raise typer.Exit(1)


@app.command("import")
def import_(
    name: Name,
    files: Annotated[
        list[Path],
        typer.Argument(
            help="omniglot: images_background.zip and images_evaluation.zip, or an "
            "omniglot.npz. Others: their files."
        ),
    ],
    data_dir: DataDir = None,
) -> None:
    """Put files that you have into the data folder, once they are checked."""
    from mlpeft.datasets.fetch import import_files

    with _progress() as progress:
        made = import_files(data_set(name), files, _target(data_dir), progress)
    _done(data_set(name), made)


@app.command("fetch")
def fetch_(
    name: Name,
    data_dir: DataDir = None,
    force: Annotated[
        bool, typer.Option("--force", help="Fetch it even if it is here and whole.")
    ] = False,
) -> None:
    """Download a data set from its official address; goes on where it broke off."""
    from mlpeft.datasets.fetch import fetch

    known = data_set(name)
    report = verify(known, data_dir)
    if report.state in {State.WHOLE, State.USABLE} and not force:
        where = ", ".join(map(str, report.paths)) or "in an installed package"
        typer.echo(f"{name} is here already: {where}")
        return
    with _progress() as progress:
        made = fetch(known, _target(data_dir), progress)
    _done(known, [made])


def _target(data_dir: Path | None) -> Path:
    """Where new data go: what the command was told wins over MLPEFT_DATA_DIR."""
    return target_folder() if data_dir is None else data_dir.expanduser().absolute()


def _done(known: DataSet, made: list[Path]) -> None:
    for path in made:
        typer.echo(f"{known.name}: {path}")
    typer.echo(f"Licence: {known.licence}\nCite: {known.citation}")


def _records(reports: list[Report]) -> list[dict[str, object]]:
    return [
        {
            "name": report.name,
            "state": report.state,
            "paths": [str(path) for path in report.paths],
            "detail": report.detail,
        }
        | _known(report.name)
        for report in reports
    ]


def _known(name: str) -> dict[str, object]:
    """What the catalogue says of a data set; nothing of a file of the user's own."""
    known = CATALOGUE.get(name)
    if known is None:
        return {}
    return {
        "about": known.about,
        "licence": known.licence,
        "citation": known.citation,
        "home": known.home,
        "files": [file.path for file in known.files],
    }


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=number == 0, overflow="fold")
    return table


def _coloured(report: Report) -> str:
    return f"[{_COLOURS[report.state]}]{report.state}[/]"


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar for each thing that is done, on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bars:
        tasks = {}

        def tell(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what)
            bars.update(tasks[what], completed=done, total=total)

        yield tell

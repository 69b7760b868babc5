"""`mlpeft data`: list, verify, import and fetch data sets."""

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
from mlpeft.errors import DataError
from mlpeft.platform.home import expanded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from mlpeft.datasets.catalogue import DataSet
    from mlpeft.datasets.fetch import Progress
    from mlpeft.datasets.text_files import Keys

app = typer.Typer(
    help="List, verify, import and fetch the data sets of tasks.", no_args_is_help=True
)

DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder for new data, which is searched first, before MLPEFT_DATA_DIR, "
        "data and ../shared/data.",
        show_default="MLPEFT_DATA_DIR, else data",
    ),
]
Name = Annotated[
    str, typer.Argument(help="Name of a data set, see `mlpeft data list`.")
]
_COLOURS = {
    State.WHOLE: "green",
    State.USABLE: "green",
    State.DAMAGED: "red",
    State.MISSING: "yellow",
}


@app.command("list")
def list_(data_dir: DataDir = None, json_output: Json = False) -> None:
    """Show the task families and the data sets, and whether they are present."""
    from mlpeft.tasks.families import FAMILIES

    reports = [verify(entry, data_dir) for entry in CATALOGUE.values()]
    if json_output:
        families = [
            {"name": name, "about": family.about, "task_params": family.task_params}
            for name, family in FAMILIES.items()
        ]
        listed = {"task_families": families, "data_sets": _records(reports)}
        typer.echo(json.dumps(listed, indent=1))
        return
    from mlpeft.reporting.terminal import output_console

    console = output_console()
    families_table = _table("task family", "tasks", "task_params")
    for name, family in FAMILIES.items():
        families_table.add_row(name, family.about, family.task_params)
    sets_table = _table("data set", "state", "contents", "licence")
    for report in reports:
        entry = CATALOGUE[report.name]
        sets_table.add_row(entry.name, _coloured(report), entry.about, entry.licence)
    console.print(families_table, "", sets_table)


@app.command("verify")
def verify_(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Data sets, a .jsonl, .json, .csv or .tsv of your own texts, or "
            "a folder of your own images; by default all data sets that are present."
        ),
    ] = None,
    data_dir: DataDir = None,
    text_key: Annotated[
        str, typer.Option(help="Key or column of the text in your own file.")
    ] = TEXT_KEYS[0],
    label_key: Annotated[
        str, typer.Option(help="Key or column of the label in your own file.")
    ] = TEXT_KEYS[1],
    json_output: Json = False,
) -> None:
    """Check that data sets are undamaged. Exit code 1 if a named one is not."""
    reports = [
        _verify(name, (text_key, label_key), data_dir) for name in names or CATALOGUE
    ]
    bad = {State.DAMAGED, State.MISSING} if names else {State.DAMAGED}
    if json_output:
        typer.echo(json.dumps(_records(reports), indent=1))
    else:
        from mlpeft.reporting.terminal import output_console

        console = output_console(soft_wrap=True)
        for report in reports:
            paths = ", ".join(map(str, report.paths))
            line = f"{report.name:10} {_coloured(report)}  {paths}"
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
            "omniglot.npz. mini_imagenet: mini-imagenet-cache-*.pkl, or the three CSV "
            "files and the images. tiered_imagenet: *_images_png.pkl or *_images.npz, "
            "and *_labels.pkl. cifar_fs: cifar100.zip. cub: CUB_200_2011.tgz. Others: "
            "their files."
        ),
    ],
    data_dir: DataDir = None,
) -> None:
    """Check local files and copy or convert them into the data folder."""
    from mlpeft.datasets.fetch import import_files

    with _progress() as progress:
        paths = import_files(data_set(name), files, _target(data_dir), progress)
    _print_result(data_set(name), paths)


@app.command("fetch")
def fetch_(
    name: Name,
    data_dir: DataDir = None,
    force: Annotated[
        bool, typer.Option("--force", help="Fetch it even if it is present.")
    ] = False,
) -> None:
    """Download a data set from its official address; resumes a broken download."""
    from mlpeft.datasets.fetch import fetch

    entry = data_set(name)
    report = verify(entry, data_dir)
    if report.state in {State.WHOLE, State.USABLE} and not force:
        paths = ", ".join(map(str, report.paths)) or "in an installed package"
        typer.echo(f"{name} is already present: {paths}")
        return
    with _progress() as progress:
        path = fetch(entry, _target(data_dir), progress)
    _print_result(entry, [path])


def _verify(name: str, keys: Keys, data_dir: Path | None) -> Report:
    """Verify a data set, a file of one's own, or a folder of images."""
    if is_pairs_file(name):
        return verify_own(Path(name), keys)
    if name not in CATALOGUE and Path(name).is_dir():
        from mlpeft.tasks.families.folder import describe_folder

        try:
            about = describe_folder({"path": name}, None)
        except DataError as error:
            return Report(name, State.DAMAGED, (Path(name),), str(error))
        return Report(name, State.USABLE, (Path(name),), about)
    return verify(data_set(name), data_dir)


def _target(data_dir: Path | None) -> Path:
    """The folder for new data: the option takes precedence over MLPEFT_DATA_DIR."""
    return target_folder() if data_dir is None else expanded(data_dir).absolute()


def _print_result(entry: DataSet, paths: list[Path]) -> None:
    for path in paths:
        typer.echo(f"{entry.name}: {path}")
    typer.echo(f"Licence: {entry.licence}\nCite: {entry.citation}")


def _records(reports: list[Report]) -> list[dict[str, object]]:
    return [
        {
            "name": report.name,
            "state": report.state,
            "paths": [str(path) for path in report.paths],
            "detail": report.detail,
        }
        | _catalogue_record(report.name)
        for report in reports
    ]


def _catalogue_record(name: str) -> dict[str, object]:
    """A data set's entry in the catalogue; empty for a user's own file."""
    entry = CATALOGUE.get(name)
    if entry is None:
        return {}
    return {
        "about": entry.about,
        "licence": entry.licence,
        "citation": entry.citation,
        "home": entry.home,
        "files": [file.path for file in entry.files],
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
    """A progress bar for each label, on standard error."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from mlpeft.reporting.terminal import progress_console

    console = progress_console()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bars:
        tasks = {}

        def update(label: str, done: int, total: int | None) -> None:
            if label not in tasks:
                tasks[label] = bars.add_task(label)
            bars.update(tasks[label], completed=done, total=total)

        yield update

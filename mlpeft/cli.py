"""The `mlpeft` command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from mlpeft import __version__
from mlpeft.commands.adapt import adapt
from mlpeft.commands.chaos import chaos
from mlpeft.commands.compare import compare
from mlpeft.commands.config import config
from mlpeft.commands.dashboard import dashboard
from mlpeft.commands.data import app as data
from mlpeft.commands.demo import demo
from mlpeft.commands.doctor import doctor
from mlpeft.commands.entry import run
from mlpeft.commands.evaluate import evaluate
from mlpeft.commands.export import export
from mlpeft.commands.import_ import import_
from mlpeft.commands.info import info
from mlpeft.commands.logs import logs
from mlpeft.commands.plot import plot
from mlpeft.commands.predict import predict
from mlpeft.commands.queue import app as queue
from mlpeft.commands.replay import replay
from mlpeft.commands.report import report
from mlpeft.commands.serve import serve
from mlpeft.commands.starts import app as starts
from mlpeft.commands.status import status
from mlpeft.commands.steer import drain, pause, release, resume, stop
from mlpeft.commands.suggest import suggest
from mlpeft.commands.sweep import sweep
from mlpeft.commands.test import test
from mlpeft.commands.train import train
from mlpeft.commands.validate import validate

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer(
    name="mlpeft",
    help="Meta-learn the starting point of a fine-tune, on the Macs a lab already has.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
MACHINE: Final = "This machine and its data"
USE: Final = "Use what was learned"
TRAIN: Final = "Train and evaluate"
PANELS: Final[dict[str, tuple[Callable[..., None], ...]]] = {
    TRAIN: (
        demo,
        config,
        train,
        evaluate,
        compare,
        sweep,
        plot,
        report,
        replay,
    ),
    USE: (adapt, predict, serve, test, suggest, export, import_),
    "A running cluster": (
        dashboard,
        status,
        logs,
        pause,
        resume,
        stop,
        drain,
        release,
    ),
    MACHINE: (info, validate, doctor, chaos),
}
"""The commands, in the order of the help."""
for panel, commands in PANELS.items():
    for command in commands:
        name = command.__name__.rstrip("_")
        app.command(name, rich_help_panel=panel)(command)
app.add_typer(queue, name="queue", rich_help_panel=TRAIN)
app.add_typer(data, name="data", rich_help_panel=MACHINE)
app.add_typer(starts, name="starts", rich_help_panel=USE)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mlpeft {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    del version


def main() -> None:
    """Run the command; an expected error is one clear message and exit code 2."""
    run(app)


if __name__ == "__main__":
    main()

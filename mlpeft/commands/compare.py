"""`mlpeft compare`: a trained start against what one would do without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mlpeft.commands.evaluate import numbers
from mlpeft.commands.options import (
    AllowModule,
    Episodes,
    Head,
    Json,
    MaybeConfig,
    Overrides,
)
from mlpeft.config.learning import INNER_STEPS
from mlpeft.results import number

if TYPE_CHECKING:
    from rich.table import Table

    from mlpeft.config import RunConfig
    from mlpeft.evaluation.evaluate import Comparison
    from mlpeft.training.trained import Trained

USUAL_SHOTS: Final = (1, 5, 10)


def compare(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            help="A run; or two evaluated runs (or their evaluation files) to compare "
            "with each other, episode by episode.",
            show_default=False,
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            help="A run's folder (its best step), one of its steps, or an .npz file.",
            show_default=False,
        ),
    ] = None,
    config: MaybeConfig = None,
    overrides: Overrides = None,
    k_shots: Annotated[
        str | None,
        typer.Option(
            "--k-shots",
            "--k-shot",
            help="Support sizes to compare at, with commas.",
            show_default="1,5,10, as far as there are examples",
        ),
    ] = None,
    episodes: Episodes = None,
    head: Head = None,
    joint: Annotated[
        bool,
        typer.Option(
            help="Compare with joint training for as many gradients, too. It is "
            "trained once and kept in the run's folder.",
        ),
    ] = True,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for comparison.json and .png (with --head, "
            "comparison_ridge.json and the like); by default the run's.",
            show_default=False,
        ),
    ] = None,
    allow_module: AllowModule = None,
    json_output: Json = False,
) -> None:
    """Compare a trained start with fresh and jointly trained ones.

    All adapt to the same test episodes, or have the same kind of --head. Prints a
    table, and draws the K-shot curves (extra: plots). Ctrl-C stops joint training; the
    same command goes on with it.

    With two runs, or two files of a run scored with two heads, it pairs what `mlpeft
    evaluate` wrote of each: the difference has a narrower interval than the two means.
    """
    given = [*(runs or ()), *([checkpoint] if checkpoint else ())]
    if len(given) == 2 and checkpoint is None:
        _compare_two(*given, as_json=json_output)
        return
    if len(given) != 1:
        raise typer.BadParameter("give a run, or two runs to compare with each other")
    from mlpeft.commands.progress import progress_bar
    from mlpeft.evaluation.evaluate import compare as score
    from mlpeft.evaluation.evaluate import comparison_size
    from mlpeft.files import unlink_link
    from mlpeft.reporting import setup_logger
    from mlpeft.reporting.terminal import output_console
    from mlpeft.tasks.build import k_is_per_class
    from mlpeft.training.trained import load_trained

    setup_logger("mlpeft")
    asked = numbers(k_shots, "--k-shots")
    changes = [*(overrides or ()), *([f"evaluation.head={head}"] if head else ())]
    trained = load_trained(given[0], config, changes, allow_module or ())
    shots = asked or _usual_shots(trained.config)
    number = episodes or trained.config.evaluation.num_test_episodes
    baseline = _joint(trained, quiet=json_output) if joint else None
    total = comparison_size(trained.config, shots, number, joint=baseline is not None)
    with progress_bar("Comparing", total, "episodes", quiet=json_output) as advance:
        table = score(trained, shots, number, joint=baseline, progress=advance)
    section = trained.config.task_distribution
    record: dict[str, Any] = {
        "checkpoint": str(trained.path),
        "num_classes": section.num_classes,
        "k_per_class": k_is_per_class(section),
        "head": trained.config.evaluation.head,
        "k_shots": {str(k): row.to_dict() for k, row in table.items()},
    }
    folder = output or (
        trained.path.parent if trained.path.is_file() else trained.path.parents[1]
    )
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=1) + "\n"
    file = folder / f"comparison{f'_{head}' if head else ''}.json"
    for path in (file, file.with_suffix(".png")):
        unlink_link(path)
    file.write_text(text, encoding="utf-8")
    picture = _draw(record, file.with_suffix(".png"), trained.config)
    if json_output:
        typer.echo(json.dumps(record))
        return
    output_console().print(_table(table, trained.config))
    typer.echo(f"Written to {file}")
    typer.echo(picture)


def _compare_two(first: Path, second: Path, *, as_json: bool) -> None:
    """Print how much better the first of two runs is, episode by episode."""
    from dataclasses import asdict

    from mlpeft.evaluation.pairs import pair
    from mlpeft.results import jsonable

    paired = pair(first, second)
    if as_json:
        record = asdict(paired) | {"gain_ci95": jsonable(paired.gain_ci95)}
        typer.echo(json.dumps(record))
        return
    of_loss = paired.score == "loss"
    factor, digits, unit = (1.0, 3, "") if of_loss else (100.0, 1, " %")
    for run, mean in zip((first, second), (paired.first, paired.second), strict=True):
        typer.echo(f"{paired.score} {factor * mean:.{digits}f}{unit}  {run}")
    gain = number(factor * paired.gain, factor * paired.gain_ci95, digits=digits)
    level = not abs(paired.gain) > paired.gain_ci95
    typer.echo(
        f"gain of the first: {'+' * (paired.gain >= 0)}{gain} on the same "
        f"{paired.episodes} test episodes" + (": level" if level else "")
    )


def _joint(trained: Trained, *, quiet: bool) -> Trained | None:
    """Joint training beside the run; None, and why, if it cannot be had."""
    from mlpeft.errors import ConfigError
    from mlpeft.evaluation.joint_start import trained_joint
    from mlpeft.launch import INTERRUPTED
    from mlpeft.platform.process import asked_to_stop
    from mlpeft.reporting import ConsoleReporter, JsonlReporter, Reporters
    from mlpeft.work import RoundInterruptedError

    try:
        with asked_to_stop() as should_stop:
            return trained_joint(
                trained,
                Reporters([JsonlReporter(), *([] if quiet else [ConsoleReporter()])]),
                should_stop,
            )
    except RoundInterruptedError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(INTERRUPTED) from None
    except ConfigError as error:
        typer.echo(f"no joint training to compare with: {error}", err=True)
        return None


def _usual_shots(config: RunConfig) -> list[int]:
    """The support sizes that the data has examples for; what is left out is said."""
    from mlpeft.errors import ConfigError
    from mlpeft.tasks.build import build_tasks

    fitting = []
    for k in USUAL_SHOTS:
        try:
            build_tasks(config.with_changes(task_distribution={"k_shot": k}))
        except ConfigError as error:
            reason = error.problems[0].partition(": ")[2]
            typer.echo(f"k-shot {k} is left out: {reason}", err=True)
        else:
            fitting.append(k)
    return fitting or [config.task_distribution.k_shot]


def _table(table: dict[int, Comparison], config: RunConfig) -> Table:
    from rich.table import Table

    name = next(iter(table.values())).name
    first = next(iter(table.values())).meta
    regression = first.acc is None
    head, lr = config.evaluation.head, config.meta_learning.inner_lr
    if head != INNER_STEPS:
        return _table_of_heads(table, head)
    view = Table(
        title=f"{'Loss' if regression else 'Accuracy %'}, {first.episodes} test "
        "episodes, 95 % intervals",
        caption="lr and number of inner steps of joint training (on all tasks at once, "
        "for as many gradients) and of the tuned start are those that suit them best "
        f"on validation tasks. Gain: {name} over this start, paired",
    )
    view.add_column("k-shot", justify="right")
    view.add_column("start")
    view.add_column("lr", justify="right")
    view.add_column("steps", justify="right")
    score = "loss" if regression else "accuracy"
    view.add_column(score, justify="right", overflow="fold")
    view.add_column("gain", justify="right", overflow="fold")
    factor = 1.0 if regression else 100.0
    for k, row in table.items():
        own = (f"{lr:g}", str(first.steps[-1]))
        view.add_row(str(k), name, *own, row.meta.final, "")
        if row.joint is not None:
            gain = _signed(factor * row.over_joint, factor * row.over_joint_ci95)
            tuned = (f"{row.joint_lr:g}", str(row.joint.steps[-1]))
            view.add_row("", "joint", *tuned, row.joint.final, gain)
        gain = _signed(factor * row.gain, factor * row.gain_ci95)
        tuned = (f"{row.tuned_lr:g}", str(row.tuned.steps[-1]))
        view.add_row("", "fresh, tuned", *tuned, row.tuned.final, gain)
        view.add_row("", "fresh", *own, row.fresh.final, "", end_section=True)
    return view


def _table_of_heads(table: dict[int, Comparison], head: str) -> Table:
    """Starts with one kind of head: there is no step size to tune."""
    from rich.table import Table

    name = next(iter(table.values())).name
    first = next(iter(table.values())).meta
    view = Table(
        title=f"Accuracy %, head {head}, {first.episodes} test episodes, 95 % "
        "intervals",
        caption="The head is fitted to the support set, and no inner step is taken. "
        f"Gain: {name} over this start, paired",
    )
    view.add_column("k-shot", justify="right")
    view.add_column("start")
    view.add_column("accuracy", justify="right", overflow="fold")
    view.add_column("gain", justify="right", overflow="fold")
    for k, row in table.items():
        view.add_row(str(k), name, row.meta.final, "")
        if row.joint is not None:
            gain = _signed(100.0 * row.over_joint, 100.0 * row.over_joint_ci95)
            view.add_row("", "joint", row.joint.final, gain)
        gain = _signed(100.0 * row.gain, 100.0 * row.gain_ci95)
        view.add_row("", "fresh", row.fresh.final, gain, end_section=True)
    return view


def _signed(gain: float, half_width: float) -> str:
    """A gain with its sign, and its interval where there is one."""
    return "+" * (gain >= 0) + number(gain, half_width, digits=1)


def _draw(record: dict[str, Any], path: Path, config: RunConfig) -> str:
    """Draw the K-shot curves; what came of it, in a sentence."""
    try:
        from mlpeft.evaluation import plots
    except ImportError:
        return "No picture: it needs the extra plots (pip install 'mlpeft[plots]')"
    from mlpeft.commands.plot import compared, tasks_named

    figure = plots.kshot_curve(
        compared(record),
        per_class=record["k_per_class"],
        subject=tasks_named(config, shots=False),
    )
    figure.savefig(path)
    return f"Drawn in {path}"

"""`mlpeft sweep`: train many settings of one configuration, with several seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mlpeft.commands.options import Config, Episodes, Json, Ranges
from mlpeft.launch import INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlpeft.config import RunConfig
    from mlpeft.evaluation.search import Space
    from mlpeft.evaluation.sweep import Outcome, Setting, Sweep
    from mlpeft.reporting import Reporter
    from mlpeft.results import EvalResult


def sweep(
    config: Config,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.KEY=VALUE[,VALUE...]",
            help="Values of a key, with commas, or one value for all trainings; may be "
            "given again. Every combination is trained.",
            show_default=False,
        ),
    ] = None,
    ranges: Ranges = None,
    seeds: Annotated[
        int,
        typer.Option(min=1, help="Trainings per setting: run.seed, run.seed + 1, ..."),
    ] = 1,
    search: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Train N settings that Optuna proposes, not every combination (extra: "
            "search).",
            show_default=False,
        ),
    ] = None,
    test: Annotated[
        Literal["best", "all", "none"],
        typer.Option(
            help="Which settings to score on test tasks: the one with the best "
            "validation, all (for a table from which nothing is chosen), or none."
        ),
    ] = "best",
    episodes: Episodes = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the trainings and of sweep.csv and sweep.tex.",
            show_default="sweeps/ and the run's name",
        ),
    ] = None,
    json_output: Json = False,
) -> None:
    """Train every setting of a grid, or those of a search, and compare them.

    Settings are compared by their best validation, as a mean over seeds with a 95 %
    interval. Ctrl-C saves; the same command resumes, and adds what is new in it.

    Example: mlpeft sweep --config configs/digits.yaml
    --set meta_learning.inner_lr=0.01,0.03,0.1 --seeds 3
    """
    from mlpeft.evaluation.search import Study, corners
    from mlpeft.evaluation.sweep import Sweep, check_settings, grid, split_values
    from mlpeft.evaluation.trials import StoppedError
    from mlpeft.platform.process import asked_to_stop
    from mlpeft.reporting import setup_logger

    setup_logger("mlpeft", level="WARNING")
    fixed, varied = _parted(values or (), split_values)
    plan = Sweep(
        config, output or Path("sweeps") / _name(config, fixed), fixed, seeds, episodes
    )
    space = _space(varied, ranges or (), search)
    settings = [] if search else grid(varied)
    check_settings(plan, settings or corners(space))
    runner = _Runner(plan, search or len(settings), quiet=json_output)
    try:
        with asked_to_stop() as runner.should_stop:
            if search:
                seed = plan.configs(corners(space)[0])[0].run.seed
                study = Study(space, seed)
                for _ in range(search):
                    study.tell(runner.run(study.ask()).score)
            for setting in settings:
                runner.run(setting)
            outcomes, winner = runner.tested(test)
    except (StoppedError, KeyboardInterrupt) as error:
        text = str(error) or "ended at once; what was saved stands"
        typer.echo(f"{text[:1].upper()}{text[1:]}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    _tell(plan, outcomes, winner, as_json=json_output)
    if winner is None:
        typer.echo(
            f"error: no setting was trained to its end; {plan.folder / 'sweep.csv'} "
            "says why",
            err=True,
        )
        raise typer.Exit(1)


class _Runner:
    """Trains settings one after another and says how far it is."""

    def __init__(self, plan: Sweep, number: int, *, quiet: bool) -> None:
        self.plan = plan
        self.number = number
        self.quiet = quiet
        self.should_stop: Callable[[], bool] = lambda: False
        self.outcomes: dict[Setting, Outcome] = {}
        self._asked = 0

    def run(self, setting: Setting) -> Outcome:
        """Train a setting, unless that is done, and print what came of it."""
        from mlpeft.evaluation.sweep_tables import score_cells

        self._asked += 1
        outcome = self.plan.run(setting, self._reporter, self.should_stop)
        self.outcomes[setting] = outcome
        failures = [it.failure for it in outcome.trainings if it.failure]
        validation = score_cells(outcome)[0] or f"failed: {''.join(failures[:1])}"
        self._say(
            f"{self._asked}/{self.number}  {setting.label}  validation {validation}"
        )
        return outcome

    def tested(self, which: str) -> tuple[list[Outcome], Outcome | None]:
        """All outcomes, with test scores of those that are asked for, and the best."""
        from mlpeft.evaluation.sweep import best

        outcomes = list(self.outcomes.values())
        winner = best(outcomes)
        if winner is None:
            return outcomes, None
        for outcome in outcomes:
            if which == "all" or (which == "best" and outcome is winner):
                self._say(f"Testing {outcome.setting.label}")
                self.outcomes[outcome.setting] = self.plan.test(outcome)
        return list(self.outcomes.values()), self.outcomes[winner.setting]

    def _reporter(self, config: RunConfig) -> Reporter:
        from mlpeft.reporting import build_reporters

        reporters = build_reporters(config, console=False)
        if not self.quiet:
            reporters.reporters.append(_Progress(config.run.name))
        return reporters

    def _say(self, line: str) -> None:
        if not self.quiet:
            typer.echo(line, err=True)


class _Progress:
    """A bar, or lines, for one training of many."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._close: Callable[[], None] = lambda: None
        self._advance: Callable[[int], None] = lambda _: None

    def start(self, config: RunConfig, run_dir: Path, first_iteration: int) -> None:
        """Show the bar."""
        from contextlib import ExitStack

        from mlpeft.commands.progress import progress_bar

        stack = ExitStack()
        total = config.meta_learning.num_meta_iterations
        bar = progress_bar(self._name, total, "meta-iterations")
        self._advance = stack.enter_context(bar)
        self._close = stack.close
        self._advance(first_iteration)

    def iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        """Move the bar."""
        self._advance(iteration)

    def validation(self, iteration: int, result: EvalResult) -> None:
        """Nothing: the table has it."""

    def checkpoint(self, iteration: int, path: Path) -> None:
        """Nothing."""

    def message(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Remove the bar."""
        self._close()


def _parted(
    texts: list[str] | tuple[()], split: Callable[[str], list[str]]
) -> tuple[tuple[str, ...], dict[str, list[str]]]:
    """What all trainings share, and what is varied."""
    fixed: list[str] = []
    varied: dict[str, list[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        options = split(value)
        if equals and len(options) > 1:
            varied[key.strip()] = list(dict.fromkeys(options))
        else:
            fixed.append(text)
    return tuple(fixed), varied


def _space(
    varied: Mapping[str, list[str]], ranges: list[str] | tuple[()], number: int | None
) -> Space:
    """What a search may choose."""
    from mlpeft.evaluation.search import parsed_space

    if ranges and number is None:
        raise typer.BadParameter(
            "a range is for a search; add --search N, or give values with --set",
            param_hint="--range",
        )
    space = parsed_space(varied, ranges)
    if number and not space:
        raise typer.BadParameter(
            "nothing to choose; give --range SECTION.KEY=LOW:HIGH, or several values "
            "with --set",
            param_hint="--search",
        )
    return space


def _name(config: Path, fixed: tuple[str, ...]) -> str:
    from mlpeft.config import RunConfig

    return RunConfig.load(config, fixed).run.name


def _tell(
    plan: Sweep, outcomes: list[Outcome], winner: Outcome | None, *, as_json: bool
) -> None:
    """Write the tables, and print one."""
    from mlpeft.evaluation import sweep_tables
    from mlpeft.files import write_atomically
    from mlpeft.reporting.terminal import output_console

    csv_file, latex_file = plan.folder / "sweep.csv", plan.folder / "sweep.tex"
    write_atomically(csv_file, sweep_tables.csv_text(outcomes).encode())
    latex = sweep_tables.latex_text(outcomes, winner)
    write_atomically(latex_file, latex.encode())
    if as_json:
        record = {
            "csv": str(csv_file),
            "latex": str(latex_file),
            "best": dict(winner.setting.changes) if winner else None,
            "run_dirs": [str(it.run_dir) for it in winner.trainings] if winner else [],
        }
        typer.echo(json.dumps(record))
        return
    output_console().print(sweep_tables.table(outcomes, winner))
    typer.echo(f"Written to {csv_file} and {latex_file}")
    if winner is not None:
        typer.echo(f"Best: {winner.setting.label}, in {winner.trainings[0].run_dir}")

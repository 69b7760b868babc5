"""`mlpeft plot`: draw what a run's folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlpeft.commands.options import AllowModule
from mlpeft.errors import DataError
from mlpeft.files import parse_json, unlink_link

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from matplotlib.figure import Figure

    from mlpeft.config import RunConfig
    from mlpeft.evaluation.sinusoid_fit import Fit
    from mlpeft.results import EvalResult


def plot(
    run: Annotated[
        Path, typer.Argument(help="A run's folder, as `mlpeft train` prints it.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder for the pictures; by default the run's.",
            show_default=False,
        ),
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(
            "--tasks",
            metavar="METHOD",
            help="Also draw a map of the training tasks (task_map.png), embedded by "
            "gradient, fisher or features at the trained start.",
            show_default=False,
        ),
    ] = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format", help="png, svg or pdf; several with commas.", metavar="FORMAT"
        ),
    ] = "png",
    size: Annotated[
        str | None,
        typer.Option(
            help="WIDTHxHEIGHT in inches, such as 3.3x2.4 for a column of a paper.",
            metavar="WxH",
            show_default=False,
        ),
    ] = None,
    allow_module: AllowModule = None,
) -> None:
    """Draw what a run's folder holds: learning curve, evaluation, comparison.

    metrics.jsonl gives learning_curve.png, `mlpeft evaluate` adds adaptation.png,
    `mlpeft compare` adds comparison.png, and a run on sinusoids has sinusoid_fit.png.
    """
    if not run.is_dir():
        raise FileNotFoundError(
            f"no folder {run.absolute()}; give the folder of a run, as `mlpeft train` "
            "prints it"
        )
    from mlpeft.training.run_files import refuse_links

    refuse_links(run)
    folder, modules = output or run, allow_module or ()
    formats = _formats(format_)
    inches = None if size is None else _inches(size)
    drawn = draw(run, folder, allow_modules=modules, formats=formats, size=inches)
    if tasks is not None:
        figure = _task_map(run, tasks, modules)
        drawn += _save(figure, folder / "task_map.png", formats, inches)
    if not drawn:
        raise DataError(
            f"nothing to draw in {run.absolute()}: expected metrics.jsonl, "
            "evaluation.json or comparison.json; is it the folder of a run?"
        )


def draw(
    run: Path,
    folder: Path,
    *,
    besides: Collection[str] = (),
    allow_modules: Collection[str] = (),
    formats: Collection[str] = ("png",),
    size: tuple[float, float] | None = None,
) -> int:
    """Draw what a run's folder holds, and say so; how many pictures.

    Args:
        run: The run's folder.
        folder: Where the pictures go.
        besides: Names of pictures that are drawn already.
        allow_modules: See `load_trained`.
        formats: Of the files.
        size: Of each picture in inches; None: as it is.
    """
    drawn = 0
    for name, figure in _figures(run, allow_modules):
        if name in besides:
            continue
        drawn += _save(figure, folder / name, formats, size)
    return drawn


def _save(
    figure: Figure,
    path: Path,
    formats: Collection[str],
    size: tuple[float, float] | None,
) -> int:
    """Write a picture in each format, and say so; how many files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if size is not None:
        figure.set_size_inches(*size)
    for kind in formats:
        file = path.with_suffix(f".{kind}")
        unlink_link(file)
        figure.savefig(file)
        typer.echo(f"Drawn in {file}")
    return len(formats)


def _formats(text: str) -> list[str]:
    from mlpeft.evaluation.plots import FORMATS

    formats = [part.strip().lower() for part in text.split(",")]
    unknown = [part for part in formats if part not in FORMATS]
    if unknown:
        raise typer.BadParameter(
            f"expected {', '.join(FORMATS)}, got {unknown[0]!r}", param_hint="--format"
        )
    return formats


def _inches(text: str) -> tuple[float, float]:
    width, _, height = text.lower().partition("x")
    try:
        size = float(width), float(height)
    except ValueError:
        size = (0.0, 0.0)
    if not all(1.0 <= length <= 50.0 for length in size):
        raise typer.BadParameter(
            f"expected WIDTHxHEIGHT in inches (1 to 50), such as 3.3x2.4, got {text!r}",
            param_hint="--size",
        )
    return size


def _figures(run: Path, allow_modules: Collection[str]) -> Iterator[tuple[str, Figure]]:
    """A name and a picture for everything in the folder that can be drawn."""
    from mlpeft.evaluation import plots
    from mlpeft.reporting.jsonl import FILE_NAME
    from mlpeft.results import start_name

    if (run / FILE_NAME).is_file():
        yield "learning_curve.png", plots.learning_curve(run, unit=_unit(run))
    evaluation, comparison = run / "evaluation.json", run / "comparison.json"
    curves: dict[str, EvalResult] = {}
    if evaluation.is_file():
        config = _config(run)
        own = [] if config is None else [config.meta_learning.algorithm]
        curves[start_name(*own)] = _evaluated(evaluation)
    if comparison.is_file():
        record = _read(comparison)
        results = compared(record)
        per_class = bool(record.get("k_per_class"))
        ways = subject(run, shots=False)
        yield (
            "comparison.png",
            plots.kshot_curve(results, per_class=per_class, subject=ways),
        )
        if not curves:
            shots = next(iter(results.values()))
            few = 5 if 5 in shots else min(shots)  # where starts differ most
            curves = {
                f"{name}, {few}-shot": rows[few] for name, rows in results.items()
            }
    if curves:
        what = subject(run, shots=evaluation.is_file())
        yield "adaptation.png", plots.adaptation_curve(curves, subject=what)
    fits = _fits(run, allow_modules)
    if fits is not None:
        yield "sinusoid_fit.png", plots.sinusoid_fits(*fits)


FITTED = 3
"""Tasks whose fit is drawn."""
MOST_TASKS = 200
"""Tasks on a map."""


def _task_map(run: Path, method: str, allow_modules: Collection[str]) -> Figure:
    """The training tasks of a run, embedded at its trained start."""
    from typing import cast

    import mlx.core as mx

    from mlpeft.evaluation import plots
    from mlpeft.meta.adaptation import of_model
    from mlpeft.meta.functional import set_params
    from mlpeft.meta.state import split
    from mlpeft.seeds import Purpose, generator
    from mlpeft.tasks import embedding
    from mlpeft.training.runner import ShardRunner
    from mlpeft.training.trained import load_trained

    trained = load_trained(run, allow_modules=allow_modules)
    runner = ShardRunner.from_config(trained.config, allow_modules)
    theta = of_model(split(trained.meta)[0])
    set_params(runner.model, {name: mx.array(leaf) for name, leaf in theta.items()})
    tasks, rng = runner.tasks.train, generator(trained.config.run.seed, Purpose.SAMPLE)
    ids = sorted({tasks.sample_task(rng) for _ in range(MOST_TASKS)})
    wanted = cast("embedding.Method", method)
    rows = [embedding.task_embedding(tasks, id_, runner.model, wanted) for id_ in ids]
    families = [tasks.config(id_).task_family for id_ in ids]
    title = f"{len(rows)} training tasks of {run.resolve().name} by {method}"
    return plots.task_map(embedding.task_map(rows), families, title)


def subject(run: Path, *, shots: bool) -> str:
    """What a run learns, for titles; "" if it is not known."""
    config = _config(run)
    return "" if config is None else tasks_named(config, shots=shots)


def tasks_named(config: RunConfig, *, shots: bool) -> str:
    """A run's tasks, for titles: `digits, 3-way 1-shot`."""
    tasks = config.task_distribution
    name = tasks.task_params.get("dataset") or ", ".join(tasks.task_families)
    return f"{name}, {tasks.num_classes}-way" + f" {tasks.k_shot}-shot" * shots


def _unit(run: Path) -> str:
    """What the loss of a run is."""
    from mlpeft.tasks.families import get_family

    config = _config(run)
    if config is None:
        return ""
    family = get_family(config.task_distribution.task_families[0])
    return "mean squared error" if family.regression else "cross entropy, nats"


def _config(run: Path) -> RunConfig | None:
    from mlpeft.config import RunConfig

    file = run / "config.yaml"
    return RunConfig.load(file) if file.is_file() else None


def compared(record: dict[str, Any]) -> dict[str, dict[int, EvalResult]]:
    """The starting points of a comparison.json, each with its result for every k.

    Raises:
        DataError: If it is not of that form.
    """
    from mlpeft.results import META_LEARNED, EvalResult

    why = "it has no k_shots"
    try:
        rows = {int(k): row for k, row in record["k_shots"].items()}
        own = {str(row.get("start", META_LEARNED)) for row in rows.values()}
        starts = dict.fromkeys(own, "meta") | {
            "fresh, tuned": "tuned",
            "fresh": "fresh",
        }
        if all("joint" in row for row in rows.values()):
            starts |= {"joint": "joint"}
        results = {
            name: {k: EvalResult.from_dict(row[key]) for k, row in rows.items()}
            for name, key in starts.items()
        }
    except (AttributeError, DataError, KeyError, TypeError, ValueError) as error:
        why, rows = str(error), {}
    if not rows:
        raise DataError(
            f"comparison.json is not what `mlpeft compare` writes ({why}); make it anew"
        )
    return results


def _evaluated(path: Path) -> EvalResult:
    from mlpeft.results import EvalResult

    record = _read(path)
    try:
        return EvalResult.from_dict(record)
    except DataError as error:
        raise DataError(
            f"{path} is not what `mlpeft evaluate` writes ({error}); make it anew"
        ) from error


def _fits(
    run: Path, allow_modules: Collection[str]
) -> tuple[list[Fit], list[Fit]] | None:
    """Fits of a run on sinusoids that has a checkpoint, and those of a fresh start."""
    from mlpeft.config import RunConfig
    from mlpeft.training import checkpoint

    file = run / "config.yaml"
    if not file.is_file() or checkpoint.best(run) is None:
        return None
    tasks = RunConfig.load(file).task_distribution
    if tasks.task_families != ["sinusoid"] or tasks.num_classes != 1:
        return None
    from mlpeft.evaluation.sinusoid_fit import fit_sinusoid
    from mlpeft.training.trained import load_trained

    trained = load_trained(run, allow_modules=allow_modules)
    return (
        [fit_sinusoid(trained, number) for number in range(FITTED)],
        [fit_sinusoid(trained, number, fresh=True) for number in range(FITTED)],
    )


def _read(path: Path) -> dict[str, Any]:
    if path.is_symlink():
        raise DataError(f"{path} is a symbolic link, which is not read; make it anew")
    try:
        tree = parse_json(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); make it anew") from error
    if not isinstance(tree, dict):
        raise DataError(f"{path} holds no JSON object; make it anew")
    return tree

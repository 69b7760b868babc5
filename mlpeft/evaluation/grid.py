"""One start, scored for several numbers of classes and of examples."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from mlpeft.config.learning import INNER_STEPS
from mlpeft.errors import ConfigError, ParamMismatch
from mlpeft.evaluation.cost import CostMeter
from mlpeft.evaluation.evaluate import score_episodes
from mlpeft.evaluation.pairs import episodes_digest, per_episode
from mlpeft.evaluation.protocol import protocol
from mlpeft.results import EvalResult
from mlpeft.training.runner import ShardRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.table import Table

    from mlpeft.config import RunConfig
    from mlpeft.training.trained import Trained


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a grid.

    Attributes:
        settings: Its protocol, see `mlpeft.evaluation.protocol`.
        result: Its scores.
        cost: Its `CostMeter.to_dict`.
        per_episode: Its scores episode by episode, see `mlpeft.evaluation.pairs`.
    """

    settings: dict[str, Any]
    result: EvalResult
    cost: dict[str, float | int | None]
    per_episode: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return self.settings | self.result.to_dict() | self.cost


def evaluate_cell(
    trained: Trained,
    episodes: int,
    progress: Callable[[int], None] = lambda _: None,
) -> Cell:
    """Score a start as it is configured, with what the figures were measured under."""
    runner = ShardRunner.from_config(trained.config)
    meter = CostMeter(progress)
    scored = score_episodes(trained, runner, episodes, progress=meter)
    return Cell(
        protocol(runner),
        EvalResult.from_round(runner.steps, scored),
        meter.to_dict(),
        {"test": episodes_digest(runner, episodes), **per_episode(scored)},
    )


def evaluate_grid(
    trained: Trained,
    ways: Sequence[int],
    shots: Sequence[int],
    episodes: int,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Cell]:
    """Score a start for every number of classes with every number of examples.

    Queries per class stay the same. Cells of as many classes have the same classes,
    and all methods the same episodes.

    Args:
        trained: The start.
        ways: Values of `task_distribution.num_classes`.
        shots: Values of `task_distribution.k_shot`.
        episodes: Test episodes of each cell.
        progress: Called with the number of episodes done, out of all cells'.

    Raises:
        ConfigError: If the start's model has too few outputs for a number of classes,
            or the data too few classes or examples.
    """
    cells: list[Cell] = []
    for way in ways:
        for shot in shots:
            counted = partial(_advance, progress, len(cells) * episodes)
            config = cell_config(trained.config, way, shot)
            try:
                cell = evaluate_cell(_with(trained, config), episodes, counted)
            except ParamMismatch as error:
                raise ConfigError(
                    f"--num-classes {way}: the start's model was made for other "
                    f"numbers of classes ({error}); its head is part of theta, so "
                    f"ask for at most {_outputs(trained.config)}"
                ) from error
            cells.append(cell)
    return cells


def cell_config(config: RunConfig, way: int, shot: int) -> RunConfig:
    """The configuration of a cell.

    The model keeps its outputs, and a class its number of queries.
    """
    tasks = config.task_distribution
    return config.with_changes(
        task_distribution={
            "num_classes": way,
            "k_shot": shot,
            "query_size": max(1, tasks.query_size * way // tasks.num_classes),
            "train_num_classes": _outputs(config),
            # What trained is not sampled here, and may not fit.
            "train_k_shot": tasks.train_k_shot or tasks.k_shot,
        }
    )


def grid_table(cells: Sequence[Cell]) -> Table:
    """A table for rich: classes down, examples across, after the last inner step."""
    from rich.table import Table

    first = cells[0]
    score = "loss" if first.result.acc is None else "accuracy"
    head = first.settings["head"]
    after = (
        f"after {first.settings['inner_steps']} inner steps"
        if head == INNER_STEPS
        else f"with a head: {head}"
    )
    table = Table(
        title=f"{score} {after}",
        caption=f"{first.result.episodes} episodes each, ± 95 %",
    )
    table.add_column("classes", justify="right")
    shots = list(dict.fromkeys(cell.settings["k_shot"] for cell in cells))
    for shot in shots:
        table.add_column(f"{shot}-shot", justify="right")
    for start in range(0, len(cells), len(shots)):
        row = cells[start : start + len(shots)]
        finals = [cell.result.final for cell in row]
        table.add_row(str(row[0].settings["num_classes"]), *finals)
    return table


def grid_csv(cells: Sequence[Cell]) -> str:
    """One line per cell; scores are those after the last inner step."""
    rows = [
        {
            key: value[-1] if isinstance(value, list) else value
            for key, value in cell.to_dict().items()
        }
        for cell in cells
    ]
    target = io.StringIO()
    writer = csv.DictWriter(target, list(rows[0]), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return target.getvalue()


def _advance(progress: Callable[[int], None], before: int, done: int) -> None:
    progress(before + done)


def _with(trained: Trained, config: RunConfig) -> Trained:
    return type(trained)(config, trained.meta, trained.path, trained.iteration)


def _outputs(config: RunConfig) -> int:
    tasks = config.task_distribution
    return max(tasks.num_classes, tasks.train_num_classes or tasks.num_classes)

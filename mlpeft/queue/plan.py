"""The runs that are added at once: a grid with several seeds, or a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError
from mlpeft.evaluation.search import Study, corners, parsed_space
from mlpeft.evaluation.sweep import Setting, grid, split_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

MOST_PLANNED = 1000
"""A larger grid is most likely a mistake."""


def planned_runs(
    file: Path,
    overrides: Sequence[str] = (),
    *,
    seeds: int = 1,
    sweep: Sequence[str] = (),
) -> list[RunConfig]:
    """The configurations of all runs, each with a name of its own.

    Args:
        file: The YAML file.
        overrides: `section.key=value` for all of them.
        seeds: Runs per setting: seeds run.seed, run.seed + 1, ...
        sweep: `section.key=value,value...`; every combination is run.

    Raises:
        ConfigError: If one is invalid, naming its values, or two have the same name.
    """
    varied = _varied(sweep)
    settings = grid(varied)
    if len(settings) * seeds > MOST_PLANNED:
        raise ConfigError(
            f"{len(settings)} settings with {seeds} seeds are {len(settings) * seeds} "
            f"runs; at most {MOST_PLANNED} can be added at once"
        )
    configs = [
        config
        for setting in settings
        for config in _with_seeds(_load(file, overrides, setting), setting, seeds)
    ]
    _check_names(configs)
    return configs


@dataclass(frozen=True, slots=True)
class PlannedSearch:
    """Runs whose settings are proposed one after another.

    Attributes:
        configs: The configuration of each, without its setting.
        values: Keys, with what each may be.
        ranges: `section.key=LOW:HIGH[:log]`.
    """

    configs: list[RunConfig]
    values: dict[str, list[str]]
    ranges: list[str]


def planned_search(
    file: Path,
    overrides: Sequence[str],
    number: int,
    *,
    sweep: Sequence[str] = (),
    ranges: Sequence[str] = (),
) -> PlannedSearch:
    """A search of so many runs.

    Args:
        file: The YAML file.
        overrides: `section.key=value` for all of them.
        number: How many.
        sweep: `section.key=value,value...` to choose from.
        ranges: `section.key=LOW:HIGH[:log]` to choose from.

    Raises:
        ConfigError: If the ends of the ranges are invalid, there is nothing to choose,
            or Optuna is not installed.
    """
    values = _varied(sweep)
    space = parsed_space(values, ranges)
    if not space:
        raise ConfigError(
            "--search: nothing to choose; give --range SECTION.KEY=LOW:HIGH, or "
            "--sweep SECTION.KEY=VALUE,VALUE"
        )
    if number > MOST_PLANNED:
        raise ConfigError(f"--search {number}: at most {MOST_PLANNED} are run")
    for corner in corners(space):
        _load(file, overrides, corner)
    base = RunConfig.load(file, overrides)
    Study(space, base.run.seed)
    configs = [
        base.with_changes(run={"name": f"{base.run.name}_search{turn}"})
        for turn in range(1, number + 1)
    ]
    return PlannedSearch(configs, values, list(ranges))


def _varied(sweep: Iterable[str]) -> dict[str, list[str]]:
    varied: dict[str, list[str]] = {}
    for text in sweep:
        key, equals, values = text.partition("=")
        if not equals or not key.strip() or not values.strip():
            raise ConfigError(
                f"--sweep {text}: expected SECTION.KEY=VALUE,VALUE..., such as "
                "meta_learning.inner_lr=0.01,0.1"
            )
        varied[key.strip()] = list(dict.fromkeys(split_values(values)))
    return varied


def _load(file: Path, overrides: Sequence[str], setting: Setting) -> RunConfig:
    changes = [f"{key}={value}" for key, value in setting.changes]
    try:
        return RunConfig.load(file, [*overrides, *changes])
    except ConfigError as error:
        changed = f", with {setting.label}" if setting.changes else ""
        raise ConfigError(error.problems, f"{file}{changed}") from error


def _with_seeds(config: RunConfig, setting: Setting, seeds: int) -> list[RunConfig]:
    """One configuration per seed, named by what is special about it."""
    name = config.run.name
    if setting.changes:
        name = f"{name}_{setting.folder}"
    if seeds == 1:
        return [config.with_changes(run={"name": name})]
    return [
        config.with_changes(run={"name": f"{name}_seed{seed}", "seed": seed})
        for seed in range(config.run.seed, config.run.seed + seeds)
    ]


def _check_names(configs: Sequence[RunConfig]) -> None:
    seen: set[str] = set()
    for config in configs:
        if config.run.name in seen:
            raise ConfigError(
                f"--sweep: two runs would be named {config.run.name}; choose values "
                "that differ in letters or digits"
            )
        seen.add(config.run.name)

"""Many trainings of one configuration: every setting of a grid, with several seeds.

Settings are compared by their best validation, as a mean over seeds. Test tasks are
scored for the chosen setting; for all of them only where nothing is chosen by them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError
from mlpeft.evaluation.over_seeds import seed_interval
from mlpeft.evaluation.trials import Training, score_step, train_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from mlpeft.reporting import Reporter
    from mlpeft.results import EvalResult

MOST_NAME = 100
"""Longest name of a trial's folder, in characters."""

Change = tuple[str, str]
"""A key of the configuration and its value, as YAML."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One point of the grid.

    Attributes:
        changes: The varied keys and their values.
    """

    changes: tuple[Change, ...]

    @property
    def label(self) -> str:
        """The values with their keys' last words, for people."""
        return " ".join(f"{short(key)}={value}" for key, value in self.changes)

    @property
    def folder(self) -> str:
        """A name for the folders of its trainings."""
        words = [f"{short(key)}-{value}" for key, value in self.changes]
        text = "_".join(words) or "run"
        plain = "".join(c if c.isalnum() or c in "._-" else "-" for c in text)
        return plain[:MOST_NAME].strip("-._")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a setting.

    Attributes:
        setting: The setting.
        trainings: One per seed.
        tests: Test scores of each training; empty if they were not asked for.
    """

    setting: Setting
    trainings: tuple[Training, ...]
    tests: tuple[EvalResult, ...] = ()

    @property
    def score(self) -> float:
        """Mean of the best validations, larger is better; NaN if one failed."""
        scores = [math.nan if it.failure else it.score for it in self.trainings]
        return seed_interval(scores)[0]

    @property
    def seconds(self) -> float:
        """Mean time of a training."""
        return seed_interval([training.seconds for training in self.trainings])[0]


@dataclass(frozen=True, slots=True)
class Sweep:
    """A configuration and what is varied of it.

    Attributes:
        config: The YAML file.
        folder: Where the trainings go, each in a folder of its own.
        overrides: `section.key=value` for all of them.
        num_seeds: Trainings per setting: seeds run.seed, run.seed + 1, ...
        episodes: Test episodes; None: as configured.
    """

    config: Path
    folder: Path
    overrides: tuple[str, ...] = ()
    num_seeds: int = 1
    episodes: int | None = None

    def configs(self, setting: Setting) -> list[RunConfig]:
        """The configuration of each training of a setting.

        Raises:
            ConfigError: If the configuration does not allow it.
        """
        texts = [f"{key}={value}" for key, value in setting.changes]
        base = RunConfig.load(self.config, [*self.overrides, *texts])
        return [
            base.with_changes(
                run={
                    "name": f"{setting.folder}_seed{base.run.seed + number}",
                    "seed": base.run.seed + number,
                },
                paths={"checkpoint_dir": self.folder},
            )
            for number in range(self.num_seeds)
        ]

    def run(
        self,
        setting: Setting,
        make_reporter: Callable[[RunConfig], Reporter],
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Outcome:
        """Train a setting with every seed, unless that is done.

        Args:
            setting: The setting.
            make_reporter: Who is told of a training.
            should_stop: As for `train`.
        """
        return Outcome(
            setting,
            tuple(
                train_whole(config, make_reporter(config), should_stop)
                for config in self.configs(setting)
            ),
        )

    def test(
        self, outcome: Outcome, progress: Callable[[int], None] | None = None
    ) -> Outcome:
        """Score the best step of each training on test tasks, unless that is done."""
        tests = []
        for training in outcome.trainings:
            if training.failure:
                continue
            file = training.run_dir / "test.json"
            result = score_step(
                training.run_dir, file, (), self.episodes, progress=progress
            )
            tests.append(result)
        return Outcome(outcome.setting, outcome.trainings, tuple(tests))


def short(key: str) -> str:
    """The last word of a dotted key."""
    return key.rpartition(".")[2]


def grid(varied: Mapping[str, Sequence[str]]) -> list[Setting]:
    """Every combination of the values, the last key varying fastest."""
    return [
        Setting(tuple(zip(varied, values, strict=True)))
        for values in product(*varied.values())
    ]


def check_settings(sweep: Sweep, settings: Iterable[Setting]) -> None:
    """Check every configuration before the first training.

    Raises:
        ConfigError: If one is invalid, naming it, or two would share a folder.
    """
    folders: dict[str, Setting] = {}
    for setting in settings:
        try:
            sweep.configs(setting)
        except ConfigError as error:
            changed = f", with {setting.label}" if setting.changes else ""
            source = f"{sweep.config}{changed}"
            raise ConfigError(error.problems, source) from error
        other = folders.setdefault(setting.folder, setting)
        if other != setting:
            raise ConfigError(
                f"--set: {other.label!r} and {setting.label!r} have the same name for "
                f"their folder, {setting.folder}; choose values that differ in letters "
                "or digits"
            )


def best(outcomes: Iterable[Outcome]) -> Outcome | None:
    """The outcome with the best mean validation; the first of equal ones.

    None if no setting was trained to its end and validated with every seed.
    """
    scored = [outcome for outcome in outcomes if not math.isnan(outcome.score)]
    return max(scored, key=lambda outcome: outcome.score, default=None)


def split_values(text: str) -> list[str]:
    """The values of a list with commas; commas inside brackets belong to a value."""
    values, depth = [""], 0
    for character in text:
        depth += (character in "[{(") - (character in "]})")
        if character == "," and depth == 0:
            values.append("")
        else:
            values[-1] += character
    return [value.strip() for value in values]

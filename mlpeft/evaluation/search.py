"""Settings that Optuna proposes from what earlier ones scored (extra: search).

The sampler is seeded and told every score in order, so that the same command proposes
the same settings again: what is trained is read, and the search goes on from there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlpeft.errors import ConfigError
from mlpeft.evaluation.sweep import Setting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Range:
    """Where a number may lie.

    Attributes:
        low: The smallest.
        high: The largest.
        log: Whether its logarithm is uniform.
        whole: Whether it is a whole number: both ends are written as such.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @classmethod
    def parse(cls, text: str) -> Range:
        """From `LOW:HIGH` or `LOW:HIGH:log`.

        Raises:
            ConfigError: If it is neither.
        """
        low, *rest = text.split(":")
        log = rest[1:] == ["log"]
        try:
            whole = low.isdigit() and rest[0].isdigit()
            parsed = cls(float(low), float(rest[0]), log, whole)
        except (ValueError, IndexError):
            parsed = cls(math.nan, math.nan)
        in_order = parsed.low < parsed.high < math.inf
        if not in_order or len(rest) > 1 + log or (log and parsed.low <= 0):
            raise ConfigError(
                f"--range {text}: expected LOW:HIGH or LOW:HIGH:log, such as "
                "1e-4:1e-1:log, with LOW below HIGH, and above 0 for log"
            )
        return parsed


Space = dict[str, "Range | list[str]"]
"""What each varied key may be: a range, or one of several values."""


def search(
    space: Space,
    number: int,
    seed: int,
    score: Callable[[Setting], float],
) -> None:
    """Ask for settings one after another, and answer each with its score.

    Args:
        space: What is varied.
        number: How many settings.
        seed: Of the sampler (Tree-structured Parzen Estimator).
        score: Trains a setting; larger is better, NaN is a failure.

    Raises:
        ConfigError: If Optuna is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            "--search needs Optuna; run: pip install 'mlpeft[search]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed)
    )
    for _ in range(number):
        trial = study.ask()
        value = score(_proposed(trial, space))
        if math.isnan(value):
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, value)


def _proposed(trial: Any, space: Mapping[str, Range | Sequence[str]]) -> Setting:
    changes = []
    for key, choice in space.items():
        if not isinstance(choice, Range):
            value = str(trial.suggest_categorical(key, list(choice)))
        elif choice.whole:
            low, high = int(choice.low), int(choice.high)
            value = str(trial.suggest_int(key, low, high, log=choice.log))
        else:
            drawn = trial.suggest_float(key, choice.low, choice.high, log=choice.log)
            value = f"{drawn:.4g}"
        changes.append((key, value))
    return Setting(tuple(changes))

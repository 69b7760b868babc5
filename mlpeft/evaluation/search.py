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
    from collections.abc import Iterable, Mapping, Sequence


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


def parsed_space(
    varied: Mapping[str, Sequence[str]], ranges: Iterable[str] = ()
) -> Space:
    """A space of keys with several values, and of `section.key=LOW:HIGH[:log]`.

    Raises:
        ConfigError: If a range is no range.
    """
    space: Space = {key: list(values) for key, values in varied.items()}
    for text in ranges:
        key, _, value = text.partition("=")
        space[key.strip()] = Range.parse(value)
    return space


def corners(space: Space) -> list[Setting]:
    """Two settings at the ends of a space: if they are valid, so are its keys."""
    ends: list[list[tuple[str, str]]] = [[], []]
    for key, choice in space.items():
        for end, changes in enumerate(ends):
            if isinstance(choice, Range):
                bound = choice.high if end else choice.low
                value = f"{bound:g}"
            else:
                value = choice[-end]
            changes.append((key, value))
    return list(dict.fromkeys(Setting(tuple(changes)) for changes in ends))


class Study:
    """Proposes one setting after another; each is answered before the next.

    Args:
        space: What is varied.
        seed: Of the sampler (Tree-structured Parzen Estimator).

    Raises:
        ConfigError: If Optuna is not installed.
    """

    def __init__(self, space: Space, seed: int) -> None:
        try:
            import optuna
        except ImportError as error:
            raise ConfigError(
                "--search needs Optuna; run: pip install 'mlpeft[search]'"
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._failed = optuna.trial.TrialState.FAIL
        sampler = optuna.samplers.TPESampler(seed=seed)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._trial: Any = None

    def ask(self) -> Setting:
        """The next setting."""
        self._trial = self._study.ask()
        return _proposed(self._trial, self._space)

    def tell(self, score: float) -> None:
        """What it came to: larger is better, NaN is a failure."""
        if math.isnan(score):
            self._study.tell(self._trial, state=self._failed)
        else:
            self._study.tell(self._trial, score)


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

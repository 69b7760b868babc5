"""Results of an evaluation: means over episodes, with 95 % intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from mlpeft.charts import notebook
from mlpeft.errors import DataError, ShapeError, counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    from mlpeft.rounds import RoundResult

Z95 = 1.96
"""Two-sided 95 % quantile of the normal distribution."""
_PER_STEP = ("steps", "loss", "loss_ci95", "acc", "acc_ci95", "exact", "exact_ci95")


META_LEARNED: Final = "meta-learned"
"""What tables call a start that is not trained jointly."""


@dataclass(frozen=True, slots=True)
class EvalResult:
    """Accuracy and loss on query sets after several numbers of inner steps.

    Sequences have exact match instead of accuracy, and are judged by their loss per
    token, since few completions match exactly.

    The half width of an interval is `1.96 * s / sqrt(n)`, s being the sample standard
    deviation over n episodes; NaN for a single episode.

    Attributes:
        steps: Inner steps after which queries were scored, ascending.
        loss: Mean query loss after each of them.
        loss_ci95: Half width of its 95 % interval.
        episodes: The number of episodes.
        acc: Mean accuracy (0 to 1) after each; None for regression and sequences.
        acc_ci95: Half width of its 95 % interval.
        exact: Mean exact match (0 to 1) after each; None unless sequences.
        exact_ci95: Half width of its 95 % interval.
        ece: Expected calibration error (0 to 1) over all queries, after each; None if
            it was not asked for.
    """

    steps: tuple[int, ...]
    loss: tuple[float, ...]
    loss_ci95: tuple[float, ...]
    episodes: int
    acc: tuple[float, ...] | None = None
    acc_ci95: tuple[float, ...] | None = None
    exact: tuple[float, ...] | None = None
    exact_ci95: tuple[float, ...] | None = None
    ece: tuple[float, ...] | None = None

    def __repr__(self) -> str:
        return f"EvalResult({self.headline}, {counted(self.episodes, 'episode')})"

    @classmethod
    def from_per_episode(
        cls,
        steps: Sequence[int],
        loss: np.ndarray,
        acc: np.ndarray | None = None,
        exact: np.ndarray | None = None,
    ) -> Self:
        """Summarise scores of each episode after each step.

        Args:
            steps: s inner steps, ascending.
            loss: (n, s) query losses.
            acc: (n, s) accuracies from 0 to 1, or None.
            exact: (n, s) exact matches from 0 to 1, or None.

        Raises:
            ShapeError: If an array is not (n, s), n being at least 1.
        """
        loss_mean, loss_ci95 = _mean_and_interval("loss", loss, len(steps))
        episodes = len(loss)
        shares: dict[str, tuple[float, ...]] = {}
        for name, share in (("acc", acc), ("exact", exact)):
            if share is None:
                continue
            if len(share) != episodes:
                raise ShapeError(
                    f"{name} has {len(share)} episodes but loss has {episodes}; both "
                    "must be of the same episodes"
                )
            mean, ci95 = _mean_and_interval(name, share, len(steps))
            shares |= {name: mean, f"{name}_ci95": ci95}
        return cls(tuple(steps), loss_mean, loss_ci95, episodes, **shares)

    @classmethod
    def from_round(cls, steps: Sequence[int], result: RoundResult) -> Self:
        """Summarise a round of validation or test episodes.

        Args:
            steps: Inner steps after which their queries were scored, ascending.
            result: What the round returned.
        """
        shares = {
            name: result.over_tasks(name)
            for name in ("acc", "exact")
            if name in result.names()
        }
        scores = cls.from_per_episode(steps, result.over_tasks("loss"), **shares)
        if "calibration" in result.names():
            ece = calibration_error(result.over_tasks("calibration"))
            return replace(scores, ece=tuple(ece.tolist()))
        return scores

    @property
    def score(self) -> float:
        """The last step's accuracy, or minus its loss; larger is better."""
        return self.acc[-1] if self.acc is not None else -self.loss[-1]

    def until_best(self) -> EvalResult:
        """The same up to the number of steps with the best score."""
        costs = self.loss if self.acc is None else [-share for share in self.acc]
        best = min(range(len(costs)), key=lambda i: (math.isnan(costs[i]), costs[i]))
        return self.until(best + 1)

    def until(self, count: int) -> EvalResult:
        """The same after the first so many numbers of steps alone."""
        fields: dict[str, Any] = {
            name: values[:count]
            for name in _PER_STEP
            if (values := getattr(self, name)) is not None
        }
        return replace(self, **fields)

    @property
    def headline(self) -> str:
        """`final` with the name of the score and the number of steps."""
        score = "loss" if self.acc is None else "accuracy"
        return f"{score} {self.final} after {_steps(self.steps[-1])}"

    @property
    def final(self) -> str:
        """The last step's accuracy, or loss, with its interval."""
        if self.acc is not None and self.acc_ci95 is not None:
            return percent(self.acc[-1], self.acc_ci95[-1])
        return number(self.loss[-1], self.loss_ci95[-1])

    def better_than(self, other: EvalResult | None) -> bool:
        """Whether the last step's score is better; any number is better than None.

        NaN is never better, and any number is better than NaN.
        """
        if other is None or math.isnan(other.score):
            return not math.isnan(self.score)
        return self.score > other.score

    def table(self, title: str = "") -> Table:
        """A table for rich with one row per step."""
        from rich.table import Table

        table = Table(title=title or None, caption=self._caption())
        header, *rows = self._rows()
        for name in header:
            table.add_column(name, justify="right")
        for row in rows:
            table.add_row(*row)
        return table

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        header, *rows = self._rows()
        return notebook.table(self.headline, header, rows, self._caption())

    def _caption(self) -> str:
        return f"{counted(self.episodes, 'episode')}, ± 95 %"

    def _rows(self) -> list[list[str]]:
        """The names of the columns, and one row per step."""
        header = {
            "inner steps": True,
            "accuracy": self.acc is not None,
            "loss": True,
            "exact match": self.exact is not None,
            "ECE": self.ece is not None,
        }
        rows = [[name for name, known in header.items() if known]]
        for i, step in enumerate(self.steps):
            cells = [number(self.loss[i], self.loss_ci95[i])]
            if self.acc is not None and self.acc_ci95 is not None:
                cells.insert(0, percent(self.acc[i], self.acc_ci95[i]))
            if self.exact is not None and self.exact_ci95 is not None:
                cells.append(percent(self.exact[i], self.exact_ci95[i]))
            if self.ece is not None:
                cells.append(percent(self.ece[i], math.nan))
            rows.append([str(step), *cells])
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN and infinity become None."""
        tree: dict[str, Any] = {"steps": list(self.steps), "episodes": self.episodes}
        names = ("acc", "acc_ci95", "loss", "loss_ci95", "exact", "exact_ci95", "ece")
        for name in names:
            values = getattr(self, name)
            if values is not None:
                tree[name] = [jsonable(v) for v in values]
            elif not name.startswith("e"):
                tree[name] = None
        return tree

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; other keys are ignored.

        Raises:
            DataError: If a key is missing, or does not hold a number for each step.
        """

        def numbers(name: str) -> tuple[float, ...] | None:
            values = tree.get(name)
            if values is None:
                return None
            try:
                found = tuple(math.nan if v is None else float(v) for v in values)
            except (OverflowError, TypeError, ValueError) as error:
                raise _not_numbers(name, values) from error
            if not found or len(found) != len(steps or found):
                raise _not_numbers(name, values)
            return found

        steps: tuple[float, ...] | None = None  # any number of them is right
        steps = numbers("steps")
        loss, loss_ci95 = numbers("loss"), numbers("loss_ci95")
        if not (steps and loss and loss_ci95) or "episodes" not in tree:
            raise DataError(
                "not an evaluation: expected the keys steps, episodes, loss and "
                f"loss_ci95, got {', '.join(sorted(tree)) or 'none'}"
            )
        try:
            counts = tuple(int(step) for step in steps)
            episodes = int(tree["episodes"])
        except (OverflowError, TypeError, ValueError) as error:
            raise DataError(
                f"not an evaluation: expected whole steps and episodes ({error})"
            ) from error
        return cls(
            steps=counts,
            loss=loss,
            loss_ci95=loss_ci95,
            episodes=episodes,
            acc=numbers("acc"),
            acc_ci95=numbers("acc_ci95"),
            exact=numbers("exact"),
            exact_ci95=numbers("exact_ci95"),
            ece=numbers("ece"),
        )


def _not_numbers(name: str, values: object) -> DataError:
    return DataError(
        f"not an evaluation: {name} is {str(values)[:60]}, expected a number for each "
        "of its steps"
    )


def start_name(*algorithms: str) -> str:
    """What tables call the starts that these algorithms trained."""
    joint = {algorithm == "joint" for algorithm in algorithms}
    if len(joint) > 1:
        return "trained"
    return "joint" if True in joint else META_LEARNED


def percent(fraction: float, half_width: float) -> str:
    """A fraction as a percentage with its interval: `93.4 ± 0.6 %`."""
    return f"{number(100 * fraction, 100 * half_width, digits=1)} %"


def number(value: float, half_width: float, digits: int = 3) -> str:
    """A number with its interval, if there is one: `0.213 ± 0.012`."""
    if math.isnan(half_width):
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ± {half_width:.{digits}f}"


def calibration_error(sums: np.ndarray) -> np.ndarray:
    """Expected calibration error, `sum_b |right_b - confidence_b| / n`.

    Args:
        sums: (tasks, steps, 3, bins): in each bin of confidence the number of queries,
            the sum of their confidences, and how many are right.

    Returns:
        (steps,) from 0 to 1.

    References:
        Guo et al., "On Calibration of Modern Neural Networks", 2017, arXiv 1706.04599,
        equation 5.
    """
    count, confidence, right = np.moveaxis(sums.astype(np.float64).sum(axis=0), 1, 0)
    return np.asarray(np.abs(right - confidence).sum(axis=-1) / count.sum(axis=-1))


def half_width(values: np.ndarray) -> np.ndarray:
    """Half width of the 95 % interval of a mean over the first axis.

    `1.96 s / sqrt(n)`, s being the sample standard deviation; NaN for n = 1.

    Args:
        values: (n, ...), n being at least 1.

    Returns:
        (...) float64.
    """
    if len(values) == 1:
        return np.full(values.shape[1:], np.nan)
    return np.asarray(Z95 * values.std(axis=0, ddof=1) / math.sqrt(len(values)))


def _mean_and_interval(
    name: str, values: np.ndarray, steps: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] == 0 or values.shape[1] != steps:
        raise ShapeError(
            f"{name} has shape {values.shape}, expected (episodes, {steps}): at least "
            "one episode, and one column per step"
        )
    return tuple(values.mean(axis=0).tolist()), tuple(half_width(values).tolist())


def jsonable(value: float) -> float | None:
    """A number for JSON; None for NaN and infinity, which JSON lacks."""
    return value if math.isfinite(value) else None


def _steps(count: int) -> str:
    return counted(count, "step")

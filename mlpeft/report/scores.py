"""Scores on test tasks: of one run, and of several seeds as one method."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mlpeft.config.learning import INNER_STEPS
from mlpeft.errors import DataError
from mlpeft.evaluation.over_seeds import seed_interval
from mlpeft.files import parse_json_object
from mlpeft.results import EvalResult, start_name
from mlpeft.training.run_folder import identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mlpeft.config import RunConfig
    from mlpeft.dashboard.run_folder import RunFolder

STARTS: Final = ("meta", "tuned", "fresh", "joint")
"""Keys of comparison.json; the first is the run's own."""
GAINS: Final = {"gain": "tuned"}
"""Keys of a paired difference, and the baseline; `over_X` is over X."""
_NOT_OURS: Final = (DataError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Value:
    """A mean with the half width of its 95 % interval; NaN where there is none."""

    mean: float
    half: float = math.nan


@dataclass(frozen=True, slots=True)
class ShotRow:
    """Scores at one number of examples.

    Attributes:
        k: Examples (of each class, or in all).
        results: Each start's scores along its inner steps.
        gains: By baseline, the paired difference of the run's own start to it.
    """

    k: int
    results: Mapping[str, EvalResult]
    gains: Mapping[str, Value] = field(default_factory=dict)


def start_names(folders: Iterable[RunFolder]) -> dict[str, str]:
    """What tables of these runs call each of `STARTS`."""
    configs = [folder.config for folder in folders]
    own = start_name(*{c.meta_learning.algorithm for c in configs if c is not None})
    return {"meta": own, "tuned": "fresh, tuned", "fresh": "fresh", "joint": "joint"}


def shot_rows(folder: RunFolder) -> list[ShotRow]:
    """What comparison.json and the files of `mlpeft evaluate` hold, by k.

    Of the run's own head: others were asked for by `--head`, and are in their files.

    Raises:
        DataError: If one of them is not what mlpeft writes.
    """
    own = INNER_STEPS if folder.config is None else folder.config.evaluation.head
    rows: dict[int, ShotRow] = {}
    for path in sorted(folder.path.glob("evaluation*.json")):
        tree = _read(path)
        try:
            k, head = int(tree["k_shot"]), str(tree.get("head", INNER_STEPS))
            result = EvalResult.from_dict(tree)
        except _NOT_OURS as error:
            raise _damaged(path) from error
        if head == own:
            rows[k] = ShotRow(k, {"meta": result})
    path = folder.path / "comparison.json"
    if path.is_file():
        try:
            for k, row in _read(path)["k_shots"].items():
                rows[int(k)] = _row(int(k), row)
        except _NOT_OURS as error:
            raise _damaged(path) from error
    return [rows[k] for k in sorted(rows)]


def _row(k: int, row: Mapping[str, Any]) -> ShotRow:
    results = {
        key: EvalResult.from_dict(value)
        for key, value in row.items()
        if isinstance(value, dict) and "steps" in value
    }
    gains = {}
    for key, value in row.items():
        baseline = GAINS.get(key, key.removeprefix("over_"))
        if (key in GAINS or key.startswith("over_")) and baseline in results:
            half = row.get(f"{key}_ci95")
            unit = 1.0 if results["meta"].acc is None else 100.0  # per cent
            width = math.nan if half is None else unit * half
            gains[baseline] = Value(unit * float(value), width)
    return ShotRow(k, results, gains)


def _read(path: Any) -> dict[str, Any]:
    try:
        return parse_json_object(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); make it anew") from error


def _damaged(path: Any) -> DataError:
    return DataError(f"{path} is not what mlpeft writes; make it anew")


def final(result: EvalResult) -> Value:
    """The last step's accuracy in per cent, or its loss."""
    if result.acc is None or result.acc_ci95 is None:
        return Value(result.loss[-1], result.loss_ci95[-1])
    return Value(100 * result.acc[-1], 100 * result.acc_ci95[-1])


def over_seeds(values: Sequence[float]) -> Value:
    """The mean over seeds, with Student's 95 % interval; NaN for one seed."""
    return Value(*seed_interval(values))


@dataclass(frozen=True, slots=True)
class Method:
    """Runs that differ in nothing but their seed.

    Attributes:
        name: What sets it apart from the other methods.
        folders: Its runs.
    """

    name: str
    folders: tuple[RunFolder, ...]

    def score(self, k: int, start: str) -> Value | None:
        """A start's score at k, over seeds; of one run, over its episodes."""
        found = [
            final(row.results[start])
            for folder in self.folders
            for row in shot_rows(folder)
            if row.k == k and start in row.results
        ]
        if not found:
            return None
        if len(found) == 1:
            return found[0]
        return over_seeds([value.mean for value in found])

    def gain(self, k: int, baseline: str) -> Value | None:
        """The paired difference to a baseline at k; over seeds if there are several."""
        found = [
            row.gains[baseline]
            for folder in self.folders
            for row in shot_rows(folder)
            if row.k == k and baseline in row.gains
        ]
        if len(found) < 2:
            return found[0] if found else None
        return over_seeds([value.mean for value in found])


def methods(folders: Sequence[RunFolder]) -> list[Method]:
    """Runs grouped by all settings but the seed, in the order given."""
    groups: dict[str, list[RunFolder]] = {}
    settings: dict[str, dict[str, Any]] = {}
    for folder in folders:
        keys = _settings(folder.config) if folder.config else {"run": folder.name}
        key = repr(sorted(keys.items(), key=str))
        groups.setdefault(key, []).append(folder)
        settings[key] = keys
    return [
        Method(_apart(settings[key], list(settings.values()), group), tuple(group))
        for key, group in groups.items()
    ]


def _settings(config: RunConfig) -> dict[str, Any]:
    keys = identity(config)
    keys["meta_learning.num_meta_iterations"] = config.meta_learning.num_meta_iterations
    del keys["run.seed"]
    return keys


def _apart(
    own: dict[str, Any], others: Sequence[dict[str, Any]], group: Sequence[RunFolder]
) -> str:
    """The settings that differ between methods, or the run's name."""
    words = [
        f"{key.rpartition('.')[2]}={value}"
        for key, value in own.items()
        if any(other.get(key) != value for other in others)
    ]
    if not words:
        return group[0].name if len(group) == 1 else f"{len(group)} seeds"
    return ", ".join(words[:4])

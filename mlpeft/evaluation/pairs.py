"""Scores episode by episode, so that two runs can be compared on the same ones.

Episodes differ more than starts do. The difference of two starts on the same episode is
free of that, so its interval is several times as narrow as those of the two means.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpeft.errors import DataError
from mlpeft.files import parse_json_object
from mlpeft.results import half_width
from mlpeft.training.plan import test_shards

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.rounds import RoundResult
    from mlpeft.training.runner import ShardRunner

FILE = "evaluation.json"


@dataclass(frozen=True, slots=True)
class Paired:
    """The difference of two runs after their last steps, on the same episodes.

    Attributes:
        score: "accuracy" or "loss".
        first: Mean score of the first run.
        second: Mean score of the second run.
        gain: Mean of the differences, first over second: accuracy gained, or loss
            reduced.
        gain_ci95: Half width of its 95 % interval; NaN for one episode.
        episodes: Their number.
    """

    score: str
    first: float
    second: float
    gain: float
    gain_ci95: float
    episodes: int


def per_episode(scored: RoundResult) -> dict[str, list[list[float]]]:
    """(episodes, steps) scores by name, for JSON."""
    names = [name for name in ("acc", "loss", "exact") if name in scored.names()]
    return {name: scored.over_tasks(name).tolist() for name in names}


def episodes_digest(runner: ShardRunner, episodes: int) -> str:
    """Names the test episodes: runs with the same one were asked the same.

    Args:
        runner: Tasks and configuration.
        episodes: Their number.
    """
    tasks = runner.config.task_distribution
    asked = {
        "families": tasks.task_families,
        "task_params": tasks.task_params,
        "sizes": [tasks.num_classes, tasks.k_shot, tasks.query_size],
        "episodes": [
            [spec.task_id, spec.seed]
            for shard in test_shards(runner.config, runner.tasks, episodes)
            for spec in shard.tasks
        ],
    }
    text = json.dumps(asked, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def pair(first: Path, second: Path) -> Paired:
    """Compare two evaluations episode by episode.

    Args:
        first: A run's folder with its `evaluation.json`, or such a file.
        second: Likewise.

    Raises:
        DataError: If one cannot be read, or they are of other episodes.
    """
    one, other = _read(first), _read(second)
    if one["test"] != other["test"]:
        raise DataError(
            f"{first} and {second} were scored on other test episodes; evaluate both "
            "with the same tasks, --k-shot, --episodes and, if their seeds differ, "
            "--set evaluation.test_seed=N"
        )
    name = "acc" if "acc" in one and "acc" in other else "loss"
    try:
        ours, theirs = (np.asarray(scores[name])[:, -1] for scores in (one, other))
        gain = ours - theirs if name == "acc" else theirs - ours
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"the scores of {first} or {second} are damaged; evaluate them anew"
        ) from error
    return Paired(
        score="accuracy" if name == "acc" else "loss",
        first=float(ours.mean()),
        second=float(theirs.mean()),
        gain=float(gain.mean()),
        gain_ci95=float(half_width(gain)),
        episodes=len(gain),
    )


def _read(path: Path) -> dict[str, Any]:
    """What `mlpeft evaluate` wrote of each episode."""
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise DataError(
            f"no evaluation at {file.absolute()}; make it with: mlpeft evaluate "
            f"--checkpoint {path}"
        )
    try:
        scores = parse_json_object(file.read_bytes())["per_episode"]
        return {"test": scores["test"], **scores}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{file.absolute()} has no scores of single episodes; evaluate the run anew"
        ) from error

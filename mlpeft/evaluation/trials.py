"""Whole trainings and their scores, for tables of many: what is done is kept.

A training resumes by its own checkpoints. An answer, such as the scores of a step, is a
JSON file that also holds the question: another question computes it anew.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from mlpeft.errors import CheckpointError, ConfigError, DataError, MlpeftError
from mlpeft.evaluation.evaluate import evaluate
from mlpeft.files import parse_json, write_atomically
from mlpeft.reporting import JsonlReporter, read_records
from mlpeft.reporting.jsonl import FILE_NAME
from mlpeft.results import EvalResult
from mlpeft.training import checkpoint
from mlpeft.training.loop import train
from mlpeft.training.run_folder import identity, run_folder
from mlpeft.training.trained import load_trained

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from mlpeft.config import RunConfig
    from mlpeft.evaluation.evaluate import EpisodeCallback
    from mlpeft.reporting import Reporter

TRAINING_FILE: Final = "training.json"
PAUSE_S: Final = 600.0
"""Longer gaps in metrics.jsonl are pauses between a stop and a resume."""
_SETUP_ERRORS = (ConfigError, DataError, CheckpointError)
"""Errors that no other setting of a sweep would be spared."""


class StoppedError(MlpeftError):
    """Someone asked to stop; what was done is saved, and the same command resumes."""


@dataclass(frozen=True, slots=True)
class Training:
    """A training that has ended.

    Attributes:
        run_dir: Its folder.
        seed: Its `run.seed`.
        iterations: Meta-iterations done.
        seconds: Time it took, without pauses.
        validation: Its best validation; None if there was none.
        failure: Why it ended early; empty if it did not.
    """

    run_dir: Path
    seed: int
    iterations: int
    seconds: float
    validation: EvalResult | None
    failure: str = ""

    @property
    def score(self) -> float:
        """Of its best validation, larger is better; NaN if there is none."""
        return math.nan if self.validation is None else self.validation.score


def train_whole(
    config: RunConfig,
    reporter: Reporter | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Training:
    """Train to the end, from wherever an earlier call was stopped.

    Args:
        config: The configuration. A training that diverges is an answer too.
        reporter: As for `train`.
        should_stop: As for `train`.

    Raises:
        StoppedError: If asked to stop before the end.
        MlpeftError: If the configuration, the data or the folder are at fault.
    """
    run_dir = run_folder(config)
    question = {
        **identity(config),
        "num_meta_iterations": config.meta_learning.num_meta_iterations,
        "evaluation": config.to_dict()["evaluation"],
    }

    def answer() -> dict[str, Any]:
        failure = ""
        try:
            result = train(
                config,
                reporter=reporter or JsonlReporter(),
                resume=None,
                should_stop=should_stop,
            )
        except _SETUP_ERRORS:
            raise
        except MlpeftError as error:
            failure = str(error)
        else:
            if result.reason == "stopped":
                raise StoppedError(
                    f"stopped and saved after meta-iteration {result.iteration} of "
                    f"{config.run.name}; the same command resumes it"
                )
        newest, _ = checkpoint.newest(run_dir)
        best = newest.progress.best if newest is not None else None
        return {
            "iterations": 0 if newest is None else newest.progress.iteration,
            "seconds": _training_seconds(run_dir),
            "validation": best,
            "failure": failure,
        }

    kept = keep_answer(run_dir / TRAINING_FILE, question, answer)
    best = kept["validation"]
    return Training(
        run_dir=run_dir,
        seed=config.run.seed,
        iterations=kept["iterations"],
        seconds=kept["seconds"],
        validation=EvalResult.from_dict(best) if best else None,
        failure=kept["failure"],
    )


def score_step(
    step: Path,
    file: Path,
    overrides: Sequence[str] = (),
    episodes: int | None = None,
    progress: EpisodeCallback | None = None,
) -> EvalResult:
    """Score test episodes from a run's step, or read the scores that are kept.

    Args:
        step: A run's folder (its best step), or the folder of one of its steps.
        file: Where the scores are kept.
        overrides: `section.key=value` for the evaluation.
        episodes: As for `evaluate`.
        progress: As for `evaluate`.
    """
    trained = load_trained(step, overrides=overrides)
    sections = trained.config.to_dict()
    question = {
        "iteration": trained.iteration,
        "episodes": episodes or trained.config.evaluation.num_test_episodes,
        **identity(trained.config),
        "evaluation": sections["evaluation"],
    }
    return EvalResult.from_dict(
        keep_answer(
            file,
            question,
            lambda: evaluate(trained, episodes, progress=progress).to_dict(),
        )
    )


def keep_answer(
    file: Path, question: Mapping[str, Any], answer: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """The answer in the file if it is to this question; else a new one, kept there.

    Args:
        file: A JSON file of ours; it may be missing.
        question: Whatever the answer depends on, as plain values.
        answer: Computes it, as plain values.
    """
    asked = json.loads(json.dumps(question, default=str))
    if file.is_file():
        try:
            kept = parse_json(file.read_text(encoding="utf-8"))
        except ValueError:
            kept = None
        if isinstance(kept, dict) and kept.get("question") == asked:
            return dict(kept["answer"])
    found = answer()
    text = json.dumps({"answer": found, "question": asked}, indent=1) + "\n"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, text.encode())
    return found


def _training_seconds(run_dir: Path) -> float:
    """Time between the first and the last record of a run, without pauses."""
    file = run_dir / FILE_NAME
    if not file.is_file():
        return 0.0
    times = [record["time"] for record in read_records(file)]
    gaps = (later - earlier for earlier, later in pairwise(times))
    return float(sum(gap for gap in gaps if 0 <= gap < PAUSE_S))

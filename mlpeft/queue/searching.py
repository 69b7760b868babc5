"""Gives the next run of a search its setting, from what the earlier ones came to.

Nothing of the search is kept but its runs: the sampler is seeded, asked for all earlier
settings again and told their scores, so that it stands where it stood.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mlpeft.config import RunConfig
from mlpeft.errors import CheckpointError
from mlpeft.evaluation.search import Study, parsed_space
from mlpeft.queue.entry import State
from mlpeft.results import EvalResult
from mlpeft.training import checkpoint
from mlpeft.training.run_files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.queue.entry import QueuedRun
    from mlpeft.queue.store import Queue


def best_validation(run_dir: Path) -> EvalResult | None:
    """The best validation that a run has saved; None: none yet, or no run."""
    try:
        newest, _ = checkpoint.newest(run_dir)
    except CheckpointError:
        return None
    best = newest.progress.best if newest is not None else None
    return EvalResult.from_dict(best) if best else None


def settle(queue: Queue, run: QueuedRun) -> None:
    """Write a run's setting into its configuration, unless it has one.

    Raises:
        ConfigError: If the configuration does not allow it, or without Optuna.
    """
    search = run.search
    if search is None or run.setting:
        return
    done = {it.number: it for it in queue.runs() if it.state is State.DONE}
    study = Study(parsed_space(search.values, search.ranges), search.seed)
    for number in range(search.first, run.number):
        study.ask()
        best = best_validation(done[number].run_dir) if number in done else None
        study.tell(math.nan if best is None else best.score)
    setting = study.ask()
    file = queue.config_file(run.number)
    changes = [f"{key}={value}" for key, value in setting.changes]
    write_whole(file, RunConfig.load(file, changes).to_yaml())
    queue.settled(run.number, setting.label)

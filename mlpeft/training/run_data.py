"""Which data a run learns from: written down when it begins, and compared ever after.

With a file that changed a run would go on to other bits, and labels that it trained on
might be dealt to its test set. Runs whose tasks need no data have no `data.json`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mlpeft.errors import CheckpointError
from mlpeft.tasks.families import FAMILIES
from mlpeft.training.checkpoint import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.config import RunConfig
    from mlpeft.training.runner import ShardRunner

FILE = "data.json"


def record(run_dir: Path, runner: ShardRunner) -> None:
    """Write down what the tasks draw from: settings, digests, and in words.

    Raises:
        CheckpointError: If it cannot be written.
    """
    digests = runner.tasks.digests()
    if not digests:
        return
    section, data_dir = runner.config.task_distribution, runner.config.paths.data_dir
    about = {
        name: FAMILIES[name].describe(section.task_params, data_dir)
        for name in section.task_families
    }
    told = _drawn_from(runner.config) | {"sha256": digests, "about": about}
    write_whole(run_dir / FILE, json.dumps(told, indent=1) + "\n")


def changed(run_dir: Path, runner: ShardRunner) -> list[str]:
    """Names of the data that are not what they were when the run began.

    Those of other tasks than the run's are not compared, nor those of a run that has
    none written down.

    Raises:
        CheckpointError: If what is written down cannot be read.
    """
    file = run_dir / FILE
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        digests = known["sha256"]
        same = {key: known[key] for key in _drawn_from(runner.config)}
    except FileNotFoundError:
        return []
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CheckpointError(
            f"{file} is damaged ({error!r}); remove it if you know that the data are "
            "what they were"
        ) from error
    if same != _drawn_from(runner.config):
        return []
    now = runner.tasks.digests()
    return [name for name in digests if now.get(name) != digests[name]]


def _drawn_from(config: RunConfig) -> dict[str, Any]:
    section = config.task_distribution
    return {
        "task_families": section.task_families,
        "task_params": section.task_params,
    }

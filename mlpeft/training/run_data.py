"""Records the data of a run when it starts, and detects later changes.

After a change, a resumed run would not reach the same bits, and classes of its training
might move to its test set. Runs whose tasks need no data have no `data.json`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mlpeft.errors import CheckpointError
from mlpeft.files import parse_json
from mlpeft.tasks.families import FAMILIES
from mlpeft.training.run_files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.config import RunConfig
    from mlpeft.training.runner import ShardRunner

FILE = "data.json"


def record(run_dir: Path, runner: ShardRunner) -> None:
    """Write settings, digests and a description of the run's data to `data.json`.

    Raises:
        CheckpointError: If it cannot be written.
    """
    digests = runner.tasks.digests()
    if not digests:
        return
    section, data_dir = runner.config.task_distribution, runner.config.paths.data_dir
    descriptions = {
        name: FAMILIES[name].describe(section.task_params, data_dir)
        for name in section.task_families
    }
    contents = {"sha256": digests, "about": descriptions}
    tree = _data_settings(runner.config) | contents
    write_whole(run_dir / FILE, json.dumps(tree, indent=1) + "\n")


def changed(run_dir: Path, runner: ShardRunner) -> list[str]:
    """Names of the data that changed since the run started.

    Empty for a run without `data.json`, and for other tasks than the run's.

    Raises:
        CheckpointError: If `data.json` cannot be read.
    """
    file = run_dir / FILE
    try:
        recorded = parse_json(file.read_bytes())
        digests = recorded["sha256"]
        settings = {key: recorded[key] for key in _data_settings(runner.config)}
    except FileNotFoundError:
        return []
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CheckpointError(
            f"{file} is damaged ({error!r}); remove it if the data did not change"
        ) from error
    if settings != _data_settings(runner.config):
        return []
    current = runner.tasks.digests()
    return [name for name in digests if current.get(name) != digests[name]]


def _data_settings(config: RunConfig) -> dict[str, Any]:
    section = config.task_distribution
    return {
        "task_families": section.task_families,
        "task_params": section.task_params,
    }

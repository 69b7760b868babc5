"""The start of a run: new parameters, or those of another run (`run.init`).

The other run may be of any algorithm: only what an adaptation starts from is taken, not
carried inner state. Where both train jointly on the same classes, the training head is
taken, too, so that training goes on where it ended. What was taken is recorded in
`start.json`, with its digest. Theta travels to workers from there on, so they need no
file of the other run.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mlpeft import params
from mlpeft.errors import ConfigError
from mlpeft.meta import state
from mlpeft.meta.adaptation import of_model
from mlpeft.meta.functional import get_params
from mlpeft.training.run_files import write_whole
from mlpeft.training.trained import load_meta

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.params import NumpyTree, ParamTree
    from mlpeft.training.runner import ShardRunner
    from mlpeft.training.trained import SavedMeta

FILE = "start.json"


def initial_meta(runner: ShardRunner, run_dir: Path) -> ParamTree:
    """The meta-state that a run begins with; one that was taken is recorded.

    Raises:
        ConfigError: If `run.init` names nothing.
        CheckpointError: If what it names cannot be read, or the record not be written.
        ParamMismatch: If what it names was made for another model.
    """
    if runner.config.run.init is None:
        return runner.initial_meta()
    start, saved = read_start(runner, runner.config.run.init)
    record = {
        "checkpoint": str(saved.path.absolute()),
        "meta_iterations": saved.iteration,
        "sha256": params.digest(start),
    }
    write_whole(run_dir / FILE, json.dumps(record, indent=1) + "\n")
    return runner.initial_meta(start)


def read_start(runner: ShardRunner, init: str) -> tuple[NumpyTree, SavedMeta]:
    """Theta of another run as far as this one begins with it, and where it was.

    Raises:
        ConfigError: If `init` names nothing.
        CheckpointError: If what it names cannot be read.
        ParamMismatch: If what it names was made for another model.
    """
    try:
        saved = load_meta(init)
    except FileNotFoundError as error:
        raise ConfigError(f"run.init: {error}") from error
    theta, _ = state.split(saved.meta)
    expected, _ = state.split(runner.schema)
    model = get_params(runner.model)
    start = {
        name: leaf
        for name, leaf in of_model(state.without_head(theta)).items()
        if name in expected or name not in model  # a metric learner has no head
    }
    what = f"run.init {saved.path}"
    params.check_schema(of_model(state.without_head(expected)), start, what)
    if params.schema(theta) == expected:
        start = theta
    return start, saved

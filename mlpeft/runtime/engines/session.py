"""One run on an engine, from its folder to its end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mlpeft.errors import counted
from mlpeft.reporting import Reporters
from mlpeft.reporting.pace import SlowRounds
from mlpeft.runtime.coordinator.norms_file import NormsFile
from mlpeft.runtime.engines.executor import EngineExecutor
from mlpeft.runtime.engines.kinds import EngineKind, check_installed
from mlpeft.runtime.engines.patience import wait_for_workers
from mlpeft.runtime.engines.shard import RunSpec
from mlpeft.training.executor import LocalExecutor
from mlpeft.training.loop import train_run
from mlpeft.training.run_files import locked
from mlpeft.training.run_folder import as_begun, open_run, run_folder
from mlpeft.training.runner import ShardRunner

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.config import RunConfig
    from mlpeft.reporting import Reporter
    from mlpeft.runtime.engines.engine import Engine
    from mlpeft.training.loop import TrainResult

log = logging.getLogger("mlpeft.engine")


def open_engine(
    kind: EngineKind, address: str | None, run: RunSpec, config: RunConfig
) -> Engine:
    """Connect to an engine, or start one on this machine.

    Args:
        kind: Which.
        address: Where; None: on this machine.
        run: The run.
        config: Its configuration.

    Raises:
        EngineError: If it is not installed, or not there.
    """
    check_installed(kind)
    section = config.engine
    attempts = config.cluster.max_attempts
    match kind:
        case EngineKind.DASK:
            from mlpeft.runtime.engines.dask import DaskEngine

            if address is not None:
                return DaskEngine.connect(run, address, attempts, section.gpus)
            return DaskEngine.start(run, section.workers, attempts)
        case EngineKind.RAY:
            from mlpeft.runtime.engines.ray import RayEngine

            if address is not None:
                return RayEngine.connect(run, address, attempts, section.gpus)
            return RayEngine.start(run, section.workers, attempts, section.gpus)


def train_on_engine(
    config: RunConfig,
    kind: EngineKind,
    address: str | None = None,
    *,
    reporter: Reporter,
    resume: bool | None = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainResult:
    """Meta-train as `mlpeft.training.loop.train` does, computing on an engine.

    Args:
        config: The configuration.
        kind: The engine.
        address: Where its scheduler is; None: workers on this machine.
        reporter: Who is told.
        resume: As for `train`.
        should_stop: Asked often; True: save and return.

    Raises:
        EngineError: If the engine is not there, or has ended.
        MlpeftError: If the run's folder or a round fails.
    """
    check_installed(kind)
    with locked(run_folder(config)):
        runner = ShardRunner.from_config(as_begun(config))
        run = open_run(runner, resume=resume)
        if run.finished:  # nothing to compute
            return train_run(
                run,
                runner,
                executor=LocalExecutor(runner),
                reporter=reporter,
                should_stop=should_stop,
            )
        engine = open_engine(kind, address, RunSpec.of(runner), runner.config)
        executor = EngineExecutor(engine, runner.config, should_stop, SlowRounds())
        try:
            wait_for_workers(
                engine, config.cluster.min_workers, config.engine.wait_s, should_stop
            )
            log.info(
                "computing on %s at %s: %s",
                *(engine.name, engine.address),
                counted(len(engine.workers()), "worker"),
            )
            return train_run(
                run,
                runner,
                executor=executor,
                reporter=Reporters([reporter, NormsFile(executor.gate)]),
                should_stop=should_stop,
            )
        finally:
            executor.close()

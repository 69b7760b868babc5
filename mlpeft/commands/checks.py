"""Whether mlpeft works on this machine, check by check, and what to do where not."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from mlpeft import platform
from mlpeft.commands.entry import text_of
from mlpeft.config import RunConfig
from mlpeft.errors import MlpeftError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

NEEDED_DISK_BYTES: Final = 100_000_000
"""Less than this and a checkpoint may not fit."""
ROOMY_DISK_BYTES: Final = 2_000_000_000


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    """It works, but not as well as it could."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One check and what came of it.

    Attributes:
        name: What was checked.
        status: How it ended.
        detail: What was found.
        remedy: What to do about it; empty if it is well, or if `detail` says so.
    """

    name: str
    status: Status
    detail: str
    remedy: str = ""


def run_checks(
    config: str | Path | None = None, overrides: Iterable[str] = ()
) -> Iterator[Check]:
    """Check this machine, and a configuration if one is given.

    Every check is made whatever became of those before it, but for those of a
    configuration that cannot be read.

    Args:
        config: A run's YAML file; None: the defaults.
        overrides: `section.key=value` on top.
    """
    yield guarded("installation", check_installation)
    yield from check_dependencies()
    yield guarded("device", check_device)
    yield guarded("BLAS", check_blas)
    yield guarded("compiler", check_compiler)
    yield guarded("training step", check_training_step)
    try:
        tree = RunConfig.load(config, overrides) if config else _defaults(overrides)
    except (MlpeftError, FileNotFoundError) as error:
        yield Check("configuration", Status.FAILED, str(error))
        return
    source = str(config) if config else "defaults"
    yield Check("configuration", Status.OK, f"{source}, run {tree.run.name}")
    yield guarded("tasks and data", lambda: check_tasks(tree))
    yield guarded("model", lambda: check_model(tree))
    yield guarded("disk", lambda: check_disk(tree.paths.checkpoint_dir))


def check_installation() -> Check:
    """Python is new enough, and mlpeft is installed."""
    python = sys.version.split()[0]
    name = "installation"
    try:
        version = importlib.metadata.version("mlpeft")
    except importlib.metadata.PackageNotFoundError:
        remedy = "run `make setup`, or `pip install -e .` in the project's folder"
        return Check(name, Status.FAILED, "mlpeft is not installed", remedy)
    return Check(name, Status.OK, f"mlpeft {version}, Python {python}")


def check_dependencies() -> Iterator[Check]:
    """Every package that mlpeft's metadata requires is there, and new enough."""
    from packaging.requirements import Requirement

    try:
        lines = importlib.metadata.requires("mlpeft") or []
    except importlib.metadata.PackageNotFoundError:
        return
    for line in lines:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is not None and not marker.evaluate({"extra": ""}):
            continue
        remedy = f"run `pip install '{requirement}'`"
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            yield Check(
                requirement.name,
                Status.FAILED,
                f"not installed, needed is {requirement.specifier}",
                remedy,
            )
            continue
        if requirement.specifier.contains(version, prereleases=True):
            yield Check(requirement.name, Status.OK, version)
        else:
            yield Check(
                requirement.name,
                Status.FAILED,
                f"{version}, needed is {requirement.specifier}",
                remedy,
            )


def check_device() -> Check:
    """MLX is there and computes."""
    platform.prepare()
    import mlx.core as mx

    machine = platform.describe_machine()
    total = float(mx.sum(mx.ones((8, 8)) @ mx.ones((8, 8))))
    if total != 512.0:
        return Check(
            "device",
            Status.FAILED,
            f"{machine.device} computes 8 x 8 x 8 as {total}",
            "install MLX anew: `pip install --force-reinstall 'mlx[cpu]'`",
        )
    note = f"; {machine.explanation}" if machine.explanation else ""
    return Check("device", Status.OK, machine.device + note)


def check_blas() -> Check:
    """Matrix products run on a fast BLAS."""
    blas = platform.load_blas()
    if blas.fast:
        return Check("BLAS", Status.OK, f"{blas.name} {blas.path or ''}".rstrip())
    detail = f"{blas.name}: matrix products are slow"
    remedy = blas.remedy or f"unset {platform.BLAS_VARIABLE}, which asks for this"
    return Check("BLAS", Status.WARNING, detail, remedy)


def check_compiler() -> Check:
    """`mx.compile` has what it needs."""
    if not sys.platform.startswith("linux"):
        return Check("compiler", Status.OK, "Metal's own")
    compiler = platform.compiler_for_compile()
    if compiler and platform.private_compile_cache() is None:
        return Check(
            "compiler",
            Status.WARNING,
            f"{compiler}, but there is no folder for compiled kernels, so functions "
            "run operation by operation, slower",
            "let XDG_CACHE_HOME or TMPDIR name a folder that you may write, with "
            "space, where programs may run",
        )
    if compiler:
        return Check("compiler", Status.OK, compiler)
    return Check(
        "compiler",
        Status.WARNING,
        "no g++: compiled functions run operation by operation, slower",
        "run `apt-get install g++` (or your system's GNU C++ compiler)",
    )


def check_training_step() -> Check:
    """A tiny model learns a little from a synthetic task."""
    import numpy as np

    from mlpeft.meta.learner import ReptileLearner
    from mlpeft.models.losses import cross_entropy_loss
    from mlpeft.models.mlp import SimpleClassifier
    from mlpeft.tasks.distribution import TaskDistribution
    from mlpeft.tasks.episode import TaskConfig

    tasks = TaskDistribution([TaskConfig("check", "linear_classification")], seed=0)
    learner = ReptileLearner(SimpleClassifier(2, 8, 2), outer_lr=1.0, num_inner_steps=2)
    metrics = learner.meta_train_step([tasks.sample_episode()[1:]], cross_entropy_loss)
    loss = float(metrics["support_loss"])
    if not np.isfinite(loss) or not metrics["param_diff"] > 0:
        return Check(
            "training step",
            Status.FAILED,
            f"support loss {loss}, parameters moved by {metrics['param_diff']}",
            "report this with the output of `mlpeft info --json`",
        )
    return Check("training step", Status.OK, f"support loss {loss:.3f}")


def check_tasks(config: RunConfig) -> Check:
    """The configured tasks can be drawn, so their data are there."""
    from mlpeft.seeds import Purpose, generator
    from mlpeft.tasks.build import build_tasks
    from mlpeft.tasks.families import FAMILIES

    splits = build_tasks(config)
    for purpose, tasks in (
        (Purpose.TRAIN, splits.train),
        (Purpose.VALIDATE, splits.val),
        (Purpose.TEST, splits.test),
    ):
        chosen = tasks.sample_task(generator(config.run.seed, purpose))
        tasks.episode(chosen, seed=0)
    section = config.task_distribution
    families = ", ".join(section.task_families)
    detail = f"{families}; inputs {splits.input_shape}, outputs {splits.num_outputs}"
    for name in section.task_families:
        about = FAMILIES[name].describe(section.task_params, config.paths.data_dir)
        detail += f"; {about}" if about else ""
    return Check("tasks and data", Status.OK, detail)


def check_model(config: RunConfig) -> Check:
    """The configured model can be built for the configured tasks."""
    from mlpeft import params
    from mlpeft.training.runner import ShardRunner
    from mlpeft.training.starts import read_start

    runner = ShardRunner.from_config(config)
    numbers = params.count(runner.initial_meta())
    detail = f"{config.model.backbone}, {numbers:,} numbers of meta-state"
    if config.run.init is not None:
        _, saved = read_start(runner, config.run.init)
        detail += f"; starts from {saved.path}"
    return Check("model", Status.OK, detail)


def check_disk(
    folder: Path,
    name: str = "disk",
    elsewhere: str = "set paths.checkpoint_dir to another disk",
) -> Check:
    """There is room in a folder, and leave to write it.

    Args:
        folder: Need not be there yet.
        name: Of the check.
        elsewhere: How to choose another folder.
    """
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    detail = f"{free / 1e9:.1f} GB free for {folder.absolute()}"
    remedy = f"free some, or {elsewhere}"
    if not _writable(existing):
        detail = f"no leave to write {existing}"
        return Check(name, Status.FAILED, detail, f"get it, or {elsewhere}")
    if free < NEEDED_DISK_BYTES:
        return Check(name, Status.FAILED, detail, remedy)
    if free < ROOMY_DISK_BYTES:
        return Check(name, Status.WARNING, detail, remedy)
    return Check(name, Status.OK, detail)


def _writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK)


def _defaults(overrides: Iterable[str]) -> RunConfig:
    return RunConfig.from_dict({}, overrides, "defaults")


def guarded(name: str, check: Callable[[], Check]) -> Check:
    """The check's outcome; whatever it raises is a failure with its text."""
    try:
        return check()
    except MlpeftError as error:
        return Check(name, Status.FAILED, str(error))
    except FileNotFoundError as error:
        return Check(name, Status.FAILED, text_of(error))
    except Exception as error:  # noqa: BLE001 - the next check must be made too
        return Check(
            name,
            Status.FAILED,
            f"{type(error).__name__}: {error}",
            "report this with the output of `mlpeft info --json`",
        )

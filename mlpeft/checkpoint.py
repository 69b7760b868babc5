"""Checkpoints: a folder a step, whole or not there at all.

    RUN/                       one training
      config.yaml              the resolved configuration
      metrics.jsonl            what happened, a line each
      best                     the name of the best step
      steps/00000500/          meta-state after 500 meta-iterations
        theta.safetensors      meta-parameters (and carried inner state)
        outer.safetensors      the outer optimiser's moments
        state.json             iteration, best score, digests of the two files

A step is written under a temporary name, flushed to disk and renamed. Reading checks
the digests; the newest step that verifies is taken, and broken ones are named.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from mlpeft.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlpeft.params import ParamTree

FORMAT = 1
STEPS = "steps"


@dataclass(slots=True, kw_only=True)
class Progress:
    """What a run remembers besides its parameters.

    Attributes:
        iteration: Meta-iterations done.
        config_digest: Of the configuration as far as it decides bits.
        best_iteration: Meta-iterations before the best validation; -1: none yet.
        best: That validation, as `EvalResult.to_dict`.
        stale: Validations since then.
    """

    iteration: int = 0
    config_digest: str = ""
    best_iteration: int = -1
    best: dict[str, Any] = field(default_factory=dict)
    stale: int = 0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One step, in memory."""

    meta: ParamTree
    outer: ParamTree
    progress: Progress
    path: Path


def save(run_dir: Path, meta: ParamTree, outer: ParamTree, progress: Progress) -> Path:
    """Write one step; it is there whole, or an error is raised and nothing is there.

    Args:
        run_dir: The run's folder.
        meta: Meta-state, NumPy leaves.
        outer: The outer optimiser's state.
        progress: What else to remember.

    Returns:
        The step's folder.

    Raises:
        CheckpointError: If the disk is full or the folder cannot be written, with what
            to do. Steps that are there stay as they are.
    """
    name = f"{progress.iteration:08d}"
    final = run_dir / STEPS / name
    partial = run_dir / STEPS / f".{name}.partial"
    try:
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir(parents=True)
        files = {"theta.safetensors": meta, "outer.safetensors": outer}
        digests = {}
        for file, tree in files.items():
            save_file(tree, partial / file)
            digests[file] = _flush(partial / file)
        record = {"format": FORMAT, "files": digests, **asdict(progress)}
        state = partial / "state.json"
        state.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        _flush(state)
        if final.exists():
            shutil.rmtree(final)
        partial.rename(final)
        _flush_folder(final.parent)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(_write_problem(final, error)) from error
    return final


def load(path: Path) -> Checkpoint:
    """Read one step's folder.

    Raises:
        CheckpointError: If a file is missing, damaged or of another format.
    """
    try:
        record = json.loads((path / "state.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"no checkpoint in {path.absolute()}") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path / 'state.json'} cannot be read: {error}"
        ) from error
    written = record.get("format") if isinstance(record, dict) else None
    if written != FORMAT:
        raise CheckpointError(
            f"{path} has format {written}, this mlpeft reads {FORMAT}"
        )
    trees = []
    for file in ("theta.safetensors", "outer.safetensors"):
        try:
            digest = _digest(path / file)
            trees.append(load_file(path / file))
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path / file} cannot be read: {error}") from error
        if digest != record["files"].get(file):
            raise CheckpointError(
                f"{path / file} is damaged: its SHA-256 is not the one written"
            )
    known = Progress.__dataclass_fields__
    progress = Progress(**{key: record[key] for key in known if key in record})
    return Checkpoint(trees[0], trees[1], progress, path)


def step_folders(run_dir: Path) -> list[Path]:
    """The folders of all steps, oldest first."""
    folder = run_dir / STEPS
    if not folder.is_dir():
        return []
    return sorted(
        path for path in folder.iterdir() if path.is_dir() and path.name.isdecimal()
    )


def newest(run_dir: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest step that verifies, and why newer ones were passed over."""
    skipped: list[str] = []
    for path in reversed(step_folders(run_dir)):
        try:
            return load(path), skipped
        except CheckpointError as error:
            skipped.append(str(error))
    return None, skipped


def mark_best(run_dir: Path, step: Path) -> None:
    """Name the best step."""
    partial = run_dir / ".best.partial"
    try:
        partial.write_text(step.name + "\n", encoding="utf-8")
        partial.replace(run_dir / "best")
    except OSError as error:
        raise CheckpointError(_write_problem(run_dir / "best", error)) from error


def best(run_dir: Path) -> Path | None:
    """The folder of the best step, if one is named and there."""
    try:
        name = (run_dir / "best").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    path = run_dir / STEPS / name
    return path if path.is_dir() else None


def prune(run_dir: Path, keep_last: int) -> None:
    """Remove all steps but the newest `keep_last` and the best one."""
    keep = best(run_dir)
    for path in step_folders(run_dir)[:-keep_last]:
        if path != keep:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold a run folder alone; the system lets go of it if the process dies.

    Raises:
        CheckpointError: If another process holds it, or it cannot be written.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        file = (run_dir / "lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise CheckpointError(_write_problem(run_dir, error)) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise CheckpointError(
                f"{run_dir} is in use by {holder}; wait for it, stop it, or choose "
                "another folder with --set run.name=NAME"
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield


def _flush(path: Path) -> str:
    """Force a file to disk; its SHA-256."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return _digest(path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush_folder(path: Path) -> None:
    """Force a rename to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_problem(path: Path, error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    remedy = {
        errno.ENOSPC: "the disk is full; free some space",
        errno.EDQUOT: "your quota is used up; free some space",
        errno.EACCES: "you may not write there; choose another paths.checkpoint_dir",
        errno.EROFS: "it is read-only; choose another paths.checkpoint_dir",
    }.get(number or 0, "see the reason and try again")
    return f"cannot write {path.absolute()}: {error}; {remedy}. Nothing was lost."

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

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from mlpeft.errors import CheckpointError
from mlpeft.files import file_digest, parse_json_object
from mlpeft.training.run_files import explained, write_error, write_whole

if TYPE_CHECKING:
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
        validation_due: This iteration is still to be validated.
        otherwise: By kind of shard: since when some were computed with another strategy
            than the run's `config.yaml` says, which and why; {}: none was.
    """

    iteration: int = 0
    config_digest: str = ""
    best_iteration: int = -1
    best: dict[str, Any] = field(default_factory=dict)
    stale: int = 0
    validation_due: bool = False
    otherwise: dict[str, str] = field(default_factory=dict)

    @property
    def otherwise_told(self) -> list[str]:
        """`otherwise` as sentences."""
        return [f"{text} ({kind})" for kind, text in sorted(self.otherwise.items())]


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
    final = step_folder(run_dir, progress.iteration)
    partial = final.with_name(f".{final.name}.partial")
    before = final.with_name(f".{final.name}.before")
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
        for file in files:  # safetensors lets nobody else read, whatever the umask
            shutil.copymode(state, partial / file)
        if final.exists():
            final.rename(before)
        partial.rename(final)
        shutil.rmtree(before, ignore_errors=True)
        _flush_folder(final.parent)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise write_error(final, error) from error
    return final


def load(path: Path) -> Checkpoint:
    """Read one step's folder.

    Raises:
        CheckpointError: If a file is missing, damaged or of another format.
    """
    record = _record(path)
    digests = record.get("files")
    if not isinstance(digests, dict):
        raise CheckpointError(f"{path / 'state.json'} is damaged: it names no files")
    trees = []
    for file in ("theta.safetensors", "outer.safetensors"):
        try:
            digest = file_digest(path / file)
            trees.append(load_file(path / file))
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path / file} cannot be read: {error}") from error
        if digest != digests.get(file):
            raise CheckpointError(
                f"{path / file} is damaged: its SHA-256 is not the one written"
            )
    return Checkpoint(trees[0], trees[1], _progress(record, path), path)


def load_progress(path: Path) -> Progress:
    """Read what a step's state.json says, and none of its arrays.

    Raises:
        CheckpointError: If it is missing, damaged or of another format.
    """
    return _progress(_record(path), path)


def _record(path: Path) -> dict[str, Any]:
    """What stands in a step's state.json."""
    try:
        record = parse_json_object((path / "state.json").read_bytes())
    except FileNotFoundError as error:
        raise CheckpointError(f"no checkpoint in {path.absolute()}") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path / 'state.json'} cannot be read: {error}"
        ) from error
    written = record.get("format")
    if written != FORMAT:
        raise CheckpointError(
            f"{path} has format {written}, this mlpeft reads {FORMAT}"
        )
    return record


def _progress(record: dict[str, Any], path: Path) -> Progress:
    """What a state.json says of the run; what it lacks has its default."""
    plain = Progress()
    for name in Progress.__dataclass_fields__:
        kind = type(getattr(plain, name))
        if type(record.get(name, getattr(plain, name))) is not kind:
            raise CheckpointError(
                f"{path / 'state.json'} is damaged: {name} is {record[name]!r}, "
                f"expected a value of type {kind.__name__}"
            )
    known = Progress.__dataclass_fields__
    return Progress(**{key: record[key] for key in known if key in record})


def step_folder(run_dir: Path, iteration: int) -> Path:
    """Where the step of an iteration is, if it is there."""
    return run_dir / STEPS / f"{iteration:08d}"


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
    write_whole(run_dir / "best", step.name + "\n")


def best(run_dir: Path) -> Path | None:
    """The folder of the best step, if one is named and there."""
    try:
        name = (run_dir / "best").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    path = run_dir / STEPS / name  # a step, and no way out of the folder
    return path if name.isdecimal() and path.is_dir() else None


def prune(run_dir: Path, keep_last: int, interval: int = 1) -> None:
    """Remove old steps.

    What stays is the best one, the newest `keep_last`, and the newest `keep_last` of
    those at multiples of `interval`, which checkpoints by the clock must not push out.
    """
    steps = step_folders(run_dir)
    regular = [path for path in steps if int(path.name) % interval == 0]
    keep = {best(run_dir), *steps[-keep_last:], *regular[-keep_last:]}
    for path in steps:
        if path not in keep:
            shutil.rmtree(path, ignore_errors=True)


def set_aside_after(run_dir: Path, step: Path) -> None:
    """Rename the steps after one to `NAME.broken`, so that they count for nothing.

    Else they would be taken for the newest when old steps are removed.
    """
    for path in step_folders(run_dir):
        if path.name > step.name:
            broken = path.with_name(f"{path.name}.broken")
            with explained(path):
                if broken.exists():
                    shutil.rmtree(broken)
                path.rename(broken)


def clear_partial(run_dir: Path) -> None:
    """Remove what processes left that were killed while they wrote a step."""
    for path in (run_dir / STEPS).glob(".*"):
        shutil.rmtree(path, ignore_errors=True)


def _flush(path: Path) -> str:
    """Force a file to disk; its SHA-256."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return file_digest(path)


def _flush_folder(path: Path) -> None:
    """Force a rename to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Checkpoints: whole or not there at all."""

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from mlpeft import checkpoint, params
from mlpeft.checkpoint import Progress
from mlpeft.errors import CheckpointError


def meta(value=1.0):
    return {"w": np.full((3,), value, np.float32)}


def save(run_dir, iteration, value=1.0):
    return checkpoint.save(run_dir, meta(value), {}, Progress(iteration=iteration))


def test_what_was_saved_is_loaded_byte_for_byte(tmp_path):
    progress = Progress(
        iteration=7,
        config_digest="abc",
        best_iteration=5,
        best={"loss": [0.1]},
        stale=2,
    )
    outer = {"m/w": np.ones(3, np.float32)}
    path = checkpoint.save(tmp_path, meta(), outer, progress)
    found = checkpoint.load(path)
    assert found.progress == progress
    assert params.digest(found.meta) == params.digest(meta())
    assert params.digest(found.outer) == params.digest(outer)


def test_the_newest_sound_step_is_taken_and_broken_ones_are_told(tmp_path):
    for iteration in (10, 20, 30):
        save(tmp_path, iteration, iteration)
    file = tmp_path / "steps" / "00000030" / "theta.safetensors"
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
    found, skipped = checkpoint.newest(tmp_path)
    assert found.progress.iteration == 20
    assert len(skipped) == 1
    assert "00000030" in skipped[0]
    assert "damaged" in skipped[0]


@pytest.mark.parametrize(
    "file", ["theta.safetensors", "outer.safetensors", "state.json"]
)
@pytest.mark.parametrize("harm", ["missing", "empty", "half"])
def test_any_harm_to_any_file_is_noticed(tmp_path, file, harm):
    path = save(tmp_path, 1) / file
    raw = path.read_bytes()
    path.unlink()
    if harm != "missing":
        path.write_bytes(b"" if harm == "empty" else raw[: len(raw) // 2])
    with pytest.raises(CheckpointError):
        checkpoint.load(path.parent)
    assert checkpoint.newest(tmp_path)[0] is None


def test_a_half_written_step_is_not_taken_for_one(tmp_path):
    save(tmp_path, 1)
    (tmp_path / "steps" / ".00000002.partial").mkdir()
    assert [path.name for path in checkpoint.step_folders(tmp_path)] == ["00000001"]
    save(tmp_path, 2)
    assert checkpoint.newest(tmp_path)[0].progress.iteration == 2


def test_pruning_keeps_the_last_and_the_best(tmp_path):
    for iteration in range(1, 7):
        save(tmp_path, iteration)
    checkpoint.mark_best(tmp_path, tmp_path / "steps" / "00000002")
    checkpoint.prune(tmp_path, keep_last=2)
    names = [path.name for path in checkpoint.step_folders(tmp_path)]
    assert names == ["00000002", "00000005", "00000006"]
    assert checkpoint.best(tmp_path).name == "00000002"


def test_a_folder_that_cannot_be_written_is_an_error_that_says_what_to_do(tmp_path):
    (tmp_path / "run").write_text("a file where the folder should be")
    with pytest.raises(CheckpointError, match="cannot write"):
        save(tmp_path / "run", 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_leaves_what_is_there(tmp_path, monkeypatch):
    """The second save runs out of space in the middle of its theta."""
    save(tmp_path, 1)

    def full(tree, path):
        with Path("/dev/full").open("wb", buffering=0) as device:
            device.write(b"x")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(CheckpointError, match="disk is full"):
        save(tmp_path, 2)
    found, skipped = checkpoint.newest(tmp_path)
    assert found.progress.iteration == 1
    assert skipped == []
    assert list((tmp_path / "steps").iterdir()) == [tmp_path / "steps" / "00000001"]


def hold(run_dir, ready, done):
    with checkpoint.locked(run_dir):
        ready.set()
        done.wait(30)


def test_one_process_a_run_folder_and_death_lets_go(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(tmp_path, ready, done))
    holder.start()
    try:
        assert ready.wait(30)
        with (
            pytest.raises(CheckpointError, match=f"in use by process {holder.pid}"),
            checkpoint.locked(tmp_path),
        ):
            raise AssertionError
    finally:
        holder.kill()
        holder.join(30)
    with checkpoint.locked(tmp_path):
        assert (tmp_path / "lock").read_text() == f"process {os.getpid()}"

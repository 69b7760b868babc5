"""Checkpoints: whole or not there at all."""

from pathlib import Path

import numpy as np
import pytest

from mlpeft import params
from mlpeft.errors import CheckpointError
from mlpeft.training import checkpoint
from mlpeft.training.checkpoint import Progress


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


def test_whoever_may_read_the_state_may_read_theta(tmp_path):
    """A lab's run is evaluated by others than who trained it."""
    step = save(tmp_path, 1)
    assert len({file.stat().st_mode for file in step.iterdir()}) == 1


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
    with pytest.raises(CheckpointError, match="free some space"):
        save(tmp_path, 2)
    found, skipped = checkpoint.newest(tmp_path)
    assert found.progress.iteration == 1
    assert skipped == []
    assert list((tmp_path / "steps").iterdir()) == [tmp_path / "steps" / "00000001"]


def test_steps_that_are_set_aside_count_for_nothing(tmp_path):
    for iteration in (10, 20, 30):
        save(tmp_path, iteration)
    checkpoint.set_aside_after(tmp_path, tmp_path / "steps" / "00000010")
    assert [path.name for path in checkpoint.step_folders(tmp_path)] == ["00000010"]
    assert (tmp_path / "steps" / "00000030.broken" / "theta.safetensors").is_file()


def test_a_step_is_replaced_by_one_of_the_same_iteration(tmp_path):
    """As when a run that stopped before a validation goes on with it."""
    save(tmp_path, 5, 1.0)
    save(tmp_path, 5, 2.0)
    found, _ = checkpoint.newest(tmp_path)
    assert found.meta["w"][0] == 2.0
    assert [path.name for path in (tmp_path / "steps").iterdir()] == ["00000005"]


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    save(tmp_path, 1)
    for name in (".00000002.partial", ".00000001.before"):
        (tmp_path / "steps" / name).mkdir()
        (tmp_path / "steps" / name / "theta.safetensors").write_bytes(b"half")
    checkpoint.clear_partial(tmp_path)
    assert [path.name for path in (tmp_path / "steps").iterdir()] == ["00000001"]


def test_checkpoints_by_the_clock_do_not_push_out_those_by_the_count(tmp_path):
    """Every hundredth was asked for; 150 is the best."""
    for iteration in (100, 150, 200, 201, 202, 203, 300, 301, 302):
        save(tmp_path, iteration)
    checkpoint.mark_best(tmp_path, checkpoint.step_folder(tmp_path, 150))
    checkpoint.prune(tmp_path, keep_last=2, interval=100)
    kept = [int(path.name) for path in checkpoint.step_folders(tmp_path)]
    assert kept == [150, 200, 300, 301, 302]

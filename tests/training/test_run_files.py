"""One process a run folder, which it may write."""

import errno
import multiprocessing
import os
import resource
import tempfile

import pytest

from mlpeft.errors import CheckpointError
from mlpeft.training.run_files import locked


def hold(run_dir, ready, done):
    with locked(run_dir):
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
            locked(tmp_path),
        ):
            raise AssertionError
    finally:
        holder.kill()
        holder.join(30)
    with locked(tmp_path):
        assert (tmp_path / "lock").read_text() == f"process {os.getpid()}"


def test_a_folder_that_became_read_only_is_refused_before_any_work(
    tmp_path, monkeypatch
):
    """The lock file of a better time can still be opened; nothing can be made."""
    with locked(tmp_path):
        pass

    def read_only(dir):  # noqa: A002 - tempfile's name for it
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(dir))

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    with (
        pytest.raises(
            CheckpointError,
            match=r"Read-only file system.*choose a paths\.checkpoint_dir",
        ),
        locked(tmp_path),
    ):
        raise AssertionError


def test_a_folder_that_cannot_be_made_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    with (
        pytest.raises(CheckpointError, match="cannot write"),
        locked(tmp_path / "checkpoints" / "run"),
    ):
        raise AssertionError


def test_a_disk_without_room_for_a_name_is_refused_with_what_to_do(tmp_path):
    """As real as it gets without a disk: files of this process may have no bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(CheckpointError, match="cannot write"), locked(tmp_path):
            raise AssertionError
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

"""What was read is kept until its file has changed, and something is built anew."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from mlpeft.file_caches import cached_read, forget_changed_files

if TYPE_CHECKING:
    from pathlib import Path


@cached_read(maxsize=4)
def read(path: Path) -> str:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return " ".join(file.read_text() for file in files)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one")
    return path


@pytest.mark.parametrize("of_folder", [False, True])
def test_a_changed_file_is_read_again_once_it_is_asked_for(file, of_folder):
    path = file.parent if of_folder else file
    assert read(path) == "one"
    file.write_text("three")
    assert read(path) == "one"  # a run's data do not change while it trains
    forget_changed_files()
    assert read(path) == "three"


def test_a_file_of_the_same_size_is_told_by_its_time(file):
    assert read(file) == "one"
    file.write_text("two")
    os.utime(file, ns=(1, 1))
    forget_changed_files()
    assert read(file) == "two"


def test_what_has_not_changed_is_kept(file):
    first = read(file)
    forget_changed_files()
    assert read(file) is first


def test_a_file_that_is_gone_is_forgotten(file):
    read(file)
    file.unlink()
    forget_changed_files()
    with pytest.raises(FileNotFoundError):
        read(file)

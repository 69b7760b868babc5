"""Sizes as people read them."""

import os

import pytest

from mlpeft.files import make_private_folders, size_text
from mlpeft.platform.compile_cache import take_slot
from mlpeft.transport.blobs.cache import BlobCache
from mlpeft.transport.security.folders import make_private_folder


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (123_456, "123 kB"),
        (2e13, "20.0 TB"),
    ],
)
def test_sizes_have_three_figures(count, text):
    assert size_text(count) == text


def test_folders_are_private_to_the_first_that_is_made_whatever_the_umask(tmp_path):
    umask = os.umask(0)
    try:
        make_private_folders(tmp_path / "a" / "b" / "c")
        make_private_folders(tmp_path / "a" / "b" / "c")
    finally:
        os.umask(umask)
    for folder in ("a", "a/b", "a/b/c"):
        assert (tmp_path / folder).stat().st_mode & 0o777 == 0o700


def test_certificates_caches_and_kernels_lie_in_private_folders(tmp_path):
    umask = os.umask(0)
    try:
        make_private_folder(tmp_path / "x" / "worker")
        BlobCache(tmp_path / "y" / "cache", 1000)
        slot, lock = take_slot(tmp_path / "z" / "kernels")
    finally:
        os.umask(umask)
    lock.close()
    made = [tmp_path / "x", tmp_path / "x" / "worker", tmp_path / "y", slot]
    made += [*(tmp_path / "y").glob("**/"), *(tmp_path / "z").glob("**/")]
    for folder in made:
        assert folder.stat().st_mode & 0o077 == 0, folder

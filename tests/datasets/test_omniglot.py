"""Damaged and other files instead of the Omniglot file."""

from __future__ import annotations

import numpy as np
import pytest

from mlpeft.datasets.omniglot import read_omniglot
from mlpeft.errors import DataError


def arrays(**changed):
    """A complete file of 2 classes with 3 drawings, but for what is changed."""
    return {
        "images": np.zeros((6, 28, 28), np.uint8),
        "class_names": np.array(["A/1", "A/2"]),
        "class_alphabet": np.zeros(2, np.uint8),
        "class_split": np.zeros(2, np.uint8),
    } | changed


def test_images_are_sorted_by_class(tmp_path):
    images = np.arange(6, dtype=np.uint8)[:, None, None] * np.ones((28, 28), np.uint8)
    np.savez(tmp_path / "o.npz", **arrays(images=images))
    read = read_omniglot(tmp_path / "o.npz")
    np.testing.assert_array_equal(read.images[:, :, 0, 0], [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04 cut short", b"not an archive"],
    ids=["empty", "cut short", "text"],
)
def test_a_file_that_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "o.npz").write_bytes(content)
    with pytest.raises(
        DataError, match=r"cannot be read as Omniglot.*mlpeft data fetch"
    ):
        read_omniglot(tmp_path / "o.npz")


def test_a_damaged_byte_is_noticed(tmp_path):
    path = tmp_path / "o.npz"
    noise = np.random.default_rng(0).integers(0, 256, (6, 28, 28), np.uint8)
    np.savez_compressed(path, **arrays(images=noise))
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as Omniglot"):
        read_omniglot(path)


def test_a_pickle_inside_is_not_read(tmp_path):
    np.savez(tmp_path / "o.npz", **arrays(class_names=np.array([{}, {}], object)))
    with pytest.raises(DataError, match="cannot be read as Omniglot"):
        read_omniglot(tmp_path / "o.npz")


@pytest.mark.parametrize(
    "changed",
    [
        {"images": np.zeros((5, 28, 28), np.uint8)},
        {"images": np.zeros((0, 28, 28), np.uint8)},
        {"images": np.zeros((6, 28, 28), np.float32)},
        {"images": np.zeros((6, 784), np.uint8)},
        {"class_names": np.array([], "U3")},
        {"class_split": np.zeros(3, np.uint8)},
        {"class_split": np.array([0, 2], np.uint8)},
        {"class_alphabet": np.zeros(1, np.uint8)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, changed):
    np.savez(tmp_path / "o.npz", **arrays(**changed))
    with pytest.raises(DataError, match="is damaged: expected uint8 images"):
        read_omniglot(tmp_path / "o.npz")


def test_an_array_that_is_missing_is_named(tmp_path):
    there = arrays()
    del there["class_split"]
    np.savez(tmp_path / "o.npz", **there)
    with pytest.raises(DataError, match="class_split"):
        read_omniglot(tmp_path / "o.npz")

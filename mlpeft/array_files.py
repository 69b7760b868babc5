"""Arrays in .npy and .npz files that somebody else wrote: sizes before memory.

NumPy allocates what a header says, and unpacks what an archive says. A file of some
kilobytes may say gigabytes, so both are held against the file first.
"""

from __future__ import annotations

import zipfile
from typing import IO, TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MOST_RATIO = 100
"""Bytes that one byte of a packed file may become. Drawings become 20."""
FREE_BYTES = 16 << 20
"""Bytes that any packed file may become."""


def most_unpacked(packed_bytes: int) -> int:
    """How many bytes a packed file of this size may become."""
    return max(FREE_BYTES, MOST_RATIO * packed_bytes)


def read_npz(path: Path, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Arrays of an .npz file; nothing in the file is unpickled.

    Args:
        path: The file.
        names: Those that are wanted; None: all.

    Raises:
        ValueError: If it is no such file, is damaged, claims a size that it cannot
            have, or lacks one of the names.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {
                info.filename.removesuffix(".npy"): info for info in archive.infolist()
            }
            wanted = list(members if names is None else names)
            _check_size(path, [members[name].file_size for name in wanted])
            return {name: _read_member(archive, members[name]) for name in wanted}
    except ValueError:
        raise
    except KeyError as error:
        raise ValueError(f"it has no array {error}") from error
    except Exception as error:  # zipfile, zlib, NumPy and tokenize: a dozen kinds
        raise ValueError(str(error)) from error


def _check_size(path: Path, sizes: Iterable[int]) -> None:
    unpacked = sum(sizes)
    if unpacked > most_unpacked(path.stat().st_size):
        raise ValueError(f"it claims to hold {unpacked} bytes")


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(info) as file:
        _check_header(file, info.file_size, info.filename)
    with archive.open(info) as file:
        return _read(file)


def read_npy(path: Path) -> np.ndarray:
    """The array of an .npy file; nothing in it is unpickled.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no such file, or its header claims another size.
    """
    try:
        with path.open("rb") as file:
            _check_header(file, path.stat().st_size, path.name)
            file.seek(0)
            return _read(file)
    except (OSError, ValueError):
        raise
    except Exception as error:  # NumPy and tokenize
        raise ValueError(str(error)) from error


def _read(file: IO[bytes]) -> np.ndarray:
    array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _check_header(file: IO[bytes], size_bytes: int, name: str) -> None:
    """Compare the array that a header describes with the bytes that there are.

    Raises:
        ValueError: If they differ, or there is no such header.
    """
    numpy: Any = np.lib.format
    version = numpy.read_magic(file)
    readers = {(1, 0): numpy.read_array_header_1_0, (2, 0): numpy.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"{name} has version {version} of the format, expected 1 or 2")
    shape, _, dtype = readers[version](file)
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects, which are not read")
    expected = dtype.itemsize
    for length in shape:
        expected *= length
    if min(shape, default=0) < 0 or expected != size_bytes - file.tell():
        raise ValueError(
            f"{name} claims {expected} bytes of numbers and has "
            f"{size_bytes - file.tell()}"
        )

"""Pickles of numbers, strings and NumPy arrays, and of nothing else.

The usual files of mini-ImageNet and tieredImageNet are pickles, and unpickling a
stranger's file may run any code. This unpickler knows the four functions that NumPy's
arrays and numbers are made of; any other name in a file is an error, and each of the
four gets arguments that can only hold data.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np

from mlpeft.errors import DataError
from mlpeft.files import size_text

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES: Final = 32_000_000_000
"""The largest file: tieredImageNet's training images are 3 GB as PNG, 9.5 GB raw."""


def _empty_array(kind: type, shape: object, code: object) -> np.ndarray[Any, Any]:
    """What an array's state is set on; pickles of NumPy give the shape (0,)."""
    if kind is not np.ndarray or shape != (0,) or code not in {b"b", "b"}:
        raise pickle.UnpicklingError(f"an array of {kind} {shape}")
    return np.empty(0, np.int8)


def _from_buffer(
    buffer: Any, dtype: Any, shape: tuple[int, ...], order: str
) -> np.ndarray[Any, Any]:
    """An array of protocol 5."""
    if np.dtype(dtype).hasobject:
        raise pickle.UnpicklingError(f"a buffer of {dtype}")
    flat = np.frombuffer(buffer, dtype)
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _number(dtype: Any, content: Any) -> Any:
    """One number."""
    if np.dtype(dtype).kind not in "iufb":
        raise pickle.UnpicklingError(f"a number of {dtype}")
    data = content.encode("latin1") if isinstance(content, str) else content
    return np.frombuffer(data, dtype)[0]


def _bytes(text: str, encoding: str = "latin1") -> bytes:
    """How Python 3 writes bytes in the protocols of Python 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in {encoding}")
    return text.encode("latin1")


_KNOWN: Final[dict[tuple[str, str], Any]] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _bytes,
    **{
        (f"numpy.{core}.{module}", name): known
        for core in ("core", "_core")
        for module, name, known in (
            ("multiarray", "_reconstruct", _empty_array),
            ("multiarray", "scalar", _number),
            ("numeric", "_frombuffer", _from_buffer),
        )
    },
}


class _Bounded:
    """A file that refuses to read more than there is.

    A damaged length would otherwise ask for that much memory first.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self.readline = file.readline

    def read(self, count: int) -> bytes:
        """Read some bytes.

        Raises:
            UnpicklingError: If there are fewer.
        """
        self._check(count)
        return self._file.read(count)

    def readinto(self, buffer: bytearray) -> int | None:
        """Fill a buffer; raises as `read`."""
        self._check(len(buffer))
        return self._file.readinto(buffer)  # type: ignore[attr-defined, no-any-return]

    def _check(self, count: int) -> None:
        if count > self._size - self._file.tell():
            raise pickle.UnpicklingError(f"it ends before {count} more bytes")


# The unpickler in Python: that in C allocates a table as large as a file says.
class _PlainUnpickler(pickle._Unpickler):  # noqa: SLF001
    """Finds the names of `_KNOWN` alone."""

    def find_class(self, module: str, name: str) -> Any:
        """The function or class; anything else is refused.

        Raises:
            UnpicklingError: Naming it.
        """
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _KNOWN[module, name]


def read_plain_pickle(path: Path) -> Any:
    """Unpickle plain data, as written by Python 2 or 3; runs nothing of the file.

    Raises:
        DataError: If the file is too large, damaged, or holds anything else.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise DataError(
            f"{path} has {size_text(size)}, expected at most {size_text(MOST_BYTES)}"
        )
    try:
        with path.open("rb") as file:
            bounded = _Bounded(file, size)
            return _PlainUnpickler(bounded, encoding="latin1").load()
    except Exception as error:  # a damaged pickle raises whatever its bytes say
        raise DataError(
            f"{path} is damaged, or no pickle of NumPy arrays: "
            f"{error or type(error).__name__}"
        ) from error

"""Checks the header of a GGUF file before MLX reads it.

MLX's reader is C and believes every count, length and offset: a damaged file ends the
process. The format is ggml's (docs/gguf.md): a header with counts, values by key,
descriptions of tensors, and from the next multiple of the alignment their data.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)
MOST_DIMS: Final = 4
MOST_LENGTH: Final = 1 << 31
"""Of an axis; MLX counts in 32 bits."""
_SIZES: Final = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a value of each type of a fixed size."""
_STRING, _ARRAY, _UINT32 = 8, 9, 4
_PLAIN: Final = {0: 4, 1: 2, 24: 1, 25: 2, 26: 4, 27: 8, 28: 8, 30: 2}
_BLOCKS_OF_32: Final = {2: 18, 3: 20, 6: 22, 7: 24, 8: 34, 9: 36}
_BLOCKS_OF_256: Final = {10: 84, 11: 110, 12: 144, 13: 176, 14: 210, 15: 292}
_BLOCKS: Final = {
    kind: (numbers, size)
    for numbers, sizes in (
        (1, _PLAIN),
        (32, _BLOCKS_OF_32),
        (256, _BLOCKS_OF_256),
    )
    for kind, size in sizes.items()
}
"""Numbers and bytes of a block, by ggml's type of a tensor."""


@dataclass(slots=True)
class _Reader:
    """Reads a file from the start, and never beyond its end.

    Attributes:
        data: The file.
        at: Position of the next byte.
    """

    data: mmap.mmap
    at: int = 0

    def skip(self, count: int) -> int:
        """Pass so many bytes; where they start."""
        start = self.at
        if count > len(self.data) - start:
            raise ValueError(
                f"at byte {start} it needs {count} bytes and has "
                f"{len(self.data) - start}"
            )
        self.at = start + count
        return start

    def uint32(self) -> int:
        number: int = struct.unpack_from("<I", self.data, self.skip(4))[0]
        return number

    def uint64(self) -> int:
        number: int = struct.unpack_from("<Q", self.data, self.skip(8))[0]
        return number

    def text(self) -> bytes:
        length = self.uint64()
        start = self.skip(length)
        return self.data[start : start + length]


def check_header(path: Path) -> None:
    """Check counts, lengths, types, offsets and sizes of a GGUF file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no GGUF file, is cut off, or contradicts itself.
    """
    with path.open("rb") as file:
        if path.stat().st_size < 24:
            raise ValueError("it is shorter than a header")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _check(_Reader(data))


def _check(reader: _Reader) -> None:
    if reader.data[reader.skip(4) : 4] != MAGIC:
        raise ValueError("it does not begin with GGUF")
    version = reader.uint32()
    if version not in VERSIONS:
        raise ValueError(f"it has version {version}, expected one of {VERSIONS}")
    tensors, values = reader.uint64(), reader.uint64()
    alignment = 32
    for _ in range(values):
        key, kind = reader.text(), reader.uint32()
        start = reader.at
        _skip_value(reader, kind)
        if key == b"general.alignment" and kind == _UINT32:
            alignment = struct.unpack_from("<I", reader.data, start)[0]
    if not 8 <= alignment <= 1 << 20 or alignment % 8:
        raise ValueError(f"it has an alignment of {alignment} bytes")
    ends, names = [0], set[bytes]()
    for _ in range(tensors):
        name, end = _tensor(reader, alignment)
        if name in names:
            raise ValueError(f"it has two tensors called {name!r}")
        names.add(name)
        ends.append(end)
    reader.at += -reader.at % alignment
    reader.skip(max(ends))


def _skip_value(reader: _Reader, kind: int) -> None:
    if kind == _STRING:
        reader.text()
    elif kind == _ARRAY:
        part, count = reader.uint32(), reader.uint64()
        if part in _SIZES:
            reader.skip(_SIZES[part] * count)
        elif part == _STRING:
            for _ in range(count):
                reader.skip(reader.uint64())
        else:
            raise ValueError(f"it has an array of values of type {part}")
    elif kind in _SIZES:
        reader.skip(_SIZES[kind])
    else:
        raise ValueError(f"it has a value of type {kind}")


def _tensor(reader: _Reader, alignment: int) -> tuple[bytes, int]:
    """Name of the next tensor, and where its data ends, from the start of all data."""
    name, dims = reader.text(), reader.uint32()
    if not 1 <= dims <= MOST_DIMS:
        raise ValueError(f"tensor {name!r} has {dims} axes, expected 1 to {MOST_DIMS}")
    shape = [reader.uint64() for _ in range(dims)]
    kind, offset = reader.uint32(), reader.uint64()
    if kind not in _BLOCKS:
        raise ValueError(f"tensor {name!r} is of ggml's type {kind}, which is not read")
    numbers, size = _BLOCKS[kind]
    if min(shape) < 1 or max(shape) >= MOST_LENGTH or shape[0] % numbers:
        raise ValueError(f"tensor {name!r} of type {kind} has shape {shape[::-1]}")
    if numbers > 1 and dims < 2:
        raise ValueError(f"tensor {name!r} is quantised and has one axis")
    if offset % alignment:
        raise ValueError(f"tensor {name!r} does not lie at a multiple of {alignment}")
    count = 1
    for length in shape:
        count *= length
    return name, offset + count // numbers * size

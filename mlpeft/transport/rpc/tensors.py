"""Trees of arrays as bytes: description, chunks, checks and assembly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mlpeft.errors import LocalProtocolError, RemoteProtocolError
from mlpeft.transport.rpc.checksum import crc32

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlpeft.params import Array, ParamTree

Dtype = np.dtype[Any]

BFLOAT16: Dtype = np.dtype([("bfloat16", "<u2")])
"""A bfloat16 as a NumPy dtype."""

_BY_NAME: dict[str, Dtype] = {
    "bool": np.dtype("?"),
    "int8": np.dtype("i1"),
    "uint8": np.dtype("u1"),
    "int16": np.dtype("<i2"),
    "uint16": np.dtype("<u2"),
    "int32": np.dtype("<i4"),
    "uint32": np.dtype("<u4"),
    "int64": np.dtype("<i8"),
    "uint64": np.dtype("<u8"),
    "float16": np.dtype("<f2"),
    "bfloat16": BFLOAT16,
    "float32": np.dtype("<f4"),
    "float64": np.dtype("<f8"),
}
_BY_DTYPE = {dtype: name for name, dtype in _BY_NAME.items()}


@cache
def wire_name(dtype: Dtype) -> str:
    """The name of a dtype on the wire.

    Raises:
        LocalProtocolError: If it cannot be sent.
    """
    name = _BY_DTYPE.get(dtype.newbyteorder("<"))
    if name is None:
        raise LocalProtocolError(
            f"cannot send arrays of dtype {dtype}; use one of {', '.join(_BY_NAME)}"
        )
    return name


def numpy_dtype(name: str) -> Dtype:
    """The NumPy dtype of a name on the wire.

    Raises:
        RemoteProtocolError: If the name is unknown.
    """
    dtype = _BY_NAME.get(name)
    if dtype is None:
        raise RemoteProtocolError(
            f"unknown dtype {name[:40]!r}; expected one of {', '.join(_BY_NAME)}"
        )
    return dtype


CHUNK_BYTES = 1 << 20
"""Maximum size of a chunk: the fastest of 64 KiB to 4 MiB over loopback."""
INLINE_BYTES = 64 << 10
"""Maximum size of arrays that are sent inline with their description."""
MAX_LEAVES = 1 << 16
MAX_AXES = 16
MAX_NAME = 1 << 10


KEPT_LAYOUTS = 8
"""Layouts that are kept: a run's messages have two or three."""
MOST_KEPT_LEAVES = 1 << 12
"""Larger ones are made anew each time: peers choose them, and they take memory."""


class LeafSpec(NamedTuple):
    """An array: dotted path, wire name of its dtype, length of each axis."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """The description of a tree of arrays, without the bytes.

    Attributes:
        leaves: In the order of their bytes.
        size_bytes: Bytes of all leaves together.
        crc32: CRC-32 of those bytes.
    """

    leaves: tuple[LeafSpec, ...] = ()
    size_bytes: int = 0
    crc32: int = 0

    @property
    def is_inline(self) -> bool:
        """Whether the bytes are sent inline with the description."""
        return self.size_bytes <= INLINE_BYTES


class Group:
    """A tree of arrays, encoded for sending any number of times.

    Args:
        tree: NumPy leaves. Contiguous little-endian leaves are not copied: they must
            not change while the group is in use.

    Raises:
        LocalProtocolError: If a leaf's dtype cannot be sent.
    """

    def __init__(self, tree: Mapping[str, Array]) -> None:
        leaves: list[LeafSpec] = []
        self._parts: list[memoryview] = []
        crc = 0
        for name in sorted(tree):
            array = np.asarray(tree[name])
            dtype = wire_name(array.dtype)
            leaves.append(LeafSpec(name, dtype, tuple(array.shape)))
            if array.size:
                flat = np.ascontiguousarray(array, numpy_dtype(dtype)).reshape(-1)
                self._parts.append(flat.view(np.uint8).data)
        for part in self._parts:
            crc = crc32(part, crc)
        size = sum(part.nbytes for part in self._parts)
        self.spec = GroupSpec(tuple(leaves), size, crc)

    def inline(self) -> bytes:
        """All bytes if they are sent inline; else none."""
        return b"".join(self._parts) if self.spec.is_inline else b""

    def chunks(self) -> Iterator[list[memoryview]]:
        """The bytes that are not sent inline, as pieces of chunks of CHUNK_BYTES."""
        if self.spec.is_inline:
            return
        pieces: list[memoryview] = []
        room = CHUNK_BYTES
        for part in self._parts:
            start = 0
            while start < part.nbytes:
                piece = part[start : start + room]
                pieces.append(piece)
                start += piece.nbytes
                room -= piece.nbytes
                if room == 0:
                    yield pieces
                    pieces, room = [], CHUNK_BYTES
        if pieces:
            yield pieces


def check_spec(spec: GroupSpec, limit_bytes: int) -> None:
    """Check a peer's description before allocating memory for it.

    Raises:
        RemoteProtocolError: If it is too large or inconsistent.
    """
    if spec.size_bytes > limit_bytes:
        raise RemoteProtocolError(
            f"got a group of {spec.size_bytes} bytes, expected at most {limit_bytes}"
        )
    if len(spec.leaves) > MAX_LEAVES:
        raise RemoteProtocolError(
            f"got a group of {len(spec.leaves)} leaves, expected at most {MAX_LEAVES}"
        )
    total = layout_of(spec.leaves).size_bytes
    if total != spec.size_bytes:
        raise RemoteProtocolError(
            f"the leaves of a group have {total} bytes, expected {spec.size_bytes}"
        )


class Layout(NamedTuple):
    """Where in a group's bytes its leaves are.

    Attributes:
        places: Name, shape, dtype and first byte of each.
        size_bytes: Of all together.
    """

    places: tuple[tuple[str, tuple[int, ...], Dtype, int], ...]
    size_bytes: int


def layout_of(leaves: tuple[LeafSpec, ...]) -> Layout:
    """The layout of a group; all messages of a run have the same few.

    Raises:
        RemoteProtocolError: If a leaf cannot be.
    """
    if len(leaves) > MOST_KEPT_LEAVES:
        return _make_layout(leaves)
    return _kept_layout(leaves)


def _make_layout(leaves: tuple[LeafSpec, ...]) -> Layout:
    if len({leaf.name for leaf in leaves}) != len(leaves):
        raise RemoteProtocolError("two leaves of a group have the same name")
    places, start = [], 0
    for leaf in leaves:
        size = _leaf_bytes(leaf)
        places.append((leaf.name, leaf.shape, numpy_dtype(leaf.dtype), start))
        start += size
    return Layout(tuple(places), start)


_kept_layout = lru_cache(KEPT_LAYOUTS)(_make_layout)


def _leaf_bytes(leaf: LeafSpec) -> int:
    if len(leaf.name) > MAX_NAME or len(leaf.shape) > MAX_AXES:
        raise RemoteProtocolError(
            f"leaf {leaf.name[:40]!r} has a name of {len(leaf.name)} characters and "
            f"{len(leaf.shape)} axes; expected at most {MAX_NAME} and {MAX_AXES}"
        )
    return math.prod(leaf.shape) * numpy_dtype(leaf.dtype).itemsize


class Assembler:
    """Assembles a group from its bytes, in order.

    Args:
        spec: The description; checked by `check_spec`.
    """

    def __init__(self, spec: GroupSpec) -> None:
        self.spec = spec
        self._buffer = np.empty(0, dtype=np.uint8)  # allocated with the first bytes
        self._filled = 0
        self._crc = 0

    @property
    def missing_bytes(self) -> int:
        """Bytes not received yet."""
        return self.spec.size_bytes - self._filled

    def feed(self, data: bytes | memoryview) -> None:
        """Add the next bytes.

        Raises:
            RemoteProtocolError: If they exceed the description.
        """
        size = len(data)
        if size > self.missing_bytes:
            raise RemoteProtocolError(
                f"got {size} bytes of a group, expected at most {self.missing_bytes}"
            )
        if not self._filled:
            self._buffer = np.empty(self.spec.size_bytes, dtype=np.uint8)
        end = self._filled + size
        self._buffer[self._filled : end] = np.frombuffer(data, dtype=np.uint8)
        self._crc = crc32(data, self._crc)
        self._filled = end

    def tree(self) -> ParamTree:
        """The arrays, as views of one buffer.

        Raises:
            RemoteProtocolError: If bytes are missing or damaged.
        """
        if self.missing_bytes:
            raise RemoteProtocolError(f"a group lacks {self.missing_bytes} bytes")
        if self._crc != self.spec.crc32:
            raise RemoteProtocolError(
                f"checksum {self._crc:08x} of {self.spec.size_bytes} bytes, expected "
                f"{self.spec.crc32:08x}: damaged in transit"
            )
        return {
            name: np.ndarray(shape, dtype, self._buffer, start)
            for name, shape, dtype, start in layout_of(self.spec.leaves).places
        }

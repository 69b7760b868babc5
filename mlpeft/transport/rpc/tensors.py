"""Trees of arrays as bytes: described, cut into chunks, checked and put together."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpeft.errors import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlpeft.params import Array, ParamTree

Dtype = np.dtype[Any]

BFLOAT16: Dtype = np.dtype([("bfloat16", "<u2")])
"""NumPy's stand-in for a bfloat16."""

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


def wire_name(dtype: Dtype) -> str:
    """The name under which a dtype travels.

    Raises:
        LocalProtocolError: If it may not travel.
    """
    name = _BY_DTYPE.get(dtype.newbyteorder("<"))
    if name is None:
        raise LocalProtocolError(
            f"arrays of dtype {dtype} do not travel; send one of {', '.join(_BY_NAME)}"
        )
    return name


def numpy_dtype(name: str) -> Dtype:
    """The NumPy dtype of what travels under a name.

    Raises:
        RemoteProtocolError: If nothing does.
    """
    dtype = _BY_NAME.get(name)
    if dtype is None:
        raise RemoteProtocolError(
            f"unknown dtype {name[:40]!r}; known are {', '.join(_BY_NAME)}"
        )
    return dtype


CHUNK_BYTES = 1 << 20
"""Most bytes in one chunk: the fastest of 64 KiB to 4 MiB over loopback."""
INLINE_BYTES = 64 << 10
"""Most bytes that travel beside their description."""
MOST_LEAVES = 1 << 16
MOST_AXES = 16
MOST_NAME = 1 << 10


@dataclass(frozen=True, slots=True)
class LeafSpec:
    """One array: dotted path, wire name of its dtype, length of each axis."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """A tree of arrays without its bytes.

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
        """Whether the bytes travel beside the description."""
        return self.size_bytes <= INLINE_BYTES


class Group:
    """A tree of arrays, ready to be sent any number of times.

    Args:
        tree: NumPy leaves. Contiguous little-endian ones are not copied: they must not
            change while the group is in use.

    Raises:
        LocalProtocolError: If a leaf's dtype may not travel.
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
            crc = zlib.crc32(part, crc)
        size = sum(part.nbytes for part in self._parts)
        self.spec = GroupSpec(tuple(leaves), size, crc)

    def inline(self) -> bytes:
        """All bytes, if they travel beside the description; else none."""
        return b"".join(self._parts) if self.spec.is_inline else b""

    def chunks(self) -> Iterator[list[memoryview]]:
        """The bytes that do not travel inline, as pieces of chunks of CHUNK_BYTES."""
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
    """Check a description that a peer sent, before anything is allocated for it.

    Raises:
        RemoteProtocolError: If it is too large, or contradicts itself.
    """
    if spec.size_bytes > limit_bytes:
        raise RemoteProtocolError(
            f"a group of {spec.size_bytes} bytes is announced, at most {limit_bytes} "
            "are expected"
        )
    if len(spec.leaves) > MOST_LEAVES:
        raise RemoteProtocolError(
            f"a group of {len(spec.leaves)} leaves is announced, at most {MOST_LEAVES} "
            "are accepted"
        )
    if len({leaf.name for leaf in spec.leaves}) != len(spec.leaves):
        raise RemoteProtocolError("two leaves of a group have the same name")
    total = sum(_leaf_bytes(leaf) for leaf in spec.leaves)
    if total != spec.size_bytes:
        raise RemoteProtocolError(
            f"the leaves of a group take {total} bytes, announced are {spec.size_bytes}"
        )


def _leaf_bytes(leaf: LeafSpec) -> int:
    if len(leaf.name) > MOST_NAME or len(leaf.shape) > MOST_AXES:
        raise RemoteProtocolError(
            f"leaf {leaf.name[:40]!r} has a name of {len(leaf.name)} characters and "
            f"{len(leaf.shape)} axes; accepted are {MOST_NAME} and {MOST_AXES}"
        )
    return math.prod(leaf.shape) * numpy_dtype(leaf.dtype).itemsize


class Assembler:
    """Puts a group together from its bytes, in order.

    Args:
        spec: What was announced; checked by `check_spec`.
    """

    def __init__(self, spec: GroupSpec) -> None:
        self.spec = spec
        self._buffer = np.empty(0, dtype=np.uint8)  # until the first bytes come
        self._filled = 0
        self._crc = 0

    @property
    def missing_bytes(self) -> int:
        """Bytes that have not come yet."""
        return self.spec.size_bytes - self._filled

    def feed(self, data: bytes | memoryview) -> None:
        """Take in the next bytes.

        Raises:
            RemoteProtocolError: If they are more than announced.
        """
        size = len(data)
        if size > self.missing_bytes:
            raise RemoteProtocolError(
                f"{size} bytes came for a group that misses {self.missing_bytes}"
            )
        if not self._filled:
            self._buffer = np.empty(self.spec.size_bytes, dtype=np.uint8)
        end = self._filled + size
        self._buffer[self._filled : end] = np.frombuffer(data, dtype=np.uint8)
        self._crc = zlib.crc32(data, self._crc)
        self._filled = end

    def tree(self) -> ParamTree:
        """The arrays, as views of one buffer.

        Raises:
            RemoteProtocolError: If bytes are missing, or are not those that were sent.
        """
        if self.missing_bytes:
            raise RemoteProtocolError(f"{self.missing_bytes} bytes are missing")
        if self._crc != self.spec.crc32:
            raise RemoteProtocolError(
                f"checksum {self._crc:08x} of {self.spec.size_bytes} bytes, expected "
                f"{self.spec.crc32:08x}: they were damaged on the way"
            )
        tree, start = {}, 0
        for leaf in self.spec.leaves:
            end = start + _leaf_bytes(leaf)
            array = self._buffer[start:end].view(numpy_dtype(leaf.dtype))
            tree[leaf.name] = array.reshape(leaf.shape)
            start = end
        return tree

"""Messages with arrays as they arrive: chunk after chunk, each counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlpeft.cluster import protocol
from mlpeft.errors import RemoteProtocolError
from mlpeft.transport.rpc import chunks
from mlpeft.transport.rpc.tensors import Assembler, GroupSpec, LeafSpec, check_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mlpeft.params import Array
    from mlpeft.transport.rpc import cluster_pb2 as pb


class Pending:
    """A message whose arrays have not all come yet.

    Args:
        groups: What is to come, with what came already.
        finish: Makes the message of the groups' arrays.
    """

    def __init__(
        self,
        groups: Iterable[tuple[GroupSpec, bytes]],
        finish: Callable[[list[Mapping[str, Array]]], Any],
    ) -> None:
        self._finish = finish
        self._assemblers = []
        for spec, inline in groups:
            assembler = Assembler(spec)
            if spec.is_inline:
                assembler.feed(inline)
            self._assemblers.append(assembler)

    def feed(self, data: memoryview) -> None:
        """Bytes of the next group that misses any; a chunk never spans two."""
        for assembler in self._assemblers:
            if assembler.missing_bytes:
                assembler.feed(data)
                return
        raise RemoteProtocolError(f"a chunk of {len(data)} bytes is one too many")

    @property
    def is_complete(self) -> bool:
        """Whether all have come."""
        return not any(assembler.missing_bytes for assembler in self._assemblers)

    @property
    def progress(self) -> tuple[int, int]:
        """Bytes that have come, and bytes in all."""
        total = sum(assembler.spec.size_bytes for assembler in self._assemblers)
        missing = sum(assembler.missing_bytes for assembler in self._assemblers)
        return total - missing, total

    def result(self) -> Any:
        """The message, once it is complete.

        Raises:
            RemoteProtocolError: If a checksum is wrong.
        """
        return self._finish([assembler.tree() for assembler in self._assemblers])


class ChunkReader:
    """Counts the bytes of chunks as they are read."""

    def __init__(self) -> None:
        self._read_bytes = 0
        self._due = False

    def acknowledgement(self) -> protocol.Acknowledgement | None:
        """What to tell the sender, once for each marked chunk; None: nothing."""
        due, self._due = self._due, False
        return protocol.Acknowledgement(self._read_bytes) if due else None

    def data_of(self, frame: bytes) -> memoryview | None:
        """The bytes of a chunk, counted; None if the frame is something else."""
        chunk = chunks.decode(frame)
        if chunk is None:
            return None
        self._read_bytes += len(chunk.data)
        self._due |= chunk.marked
        return chunk.data


def group_of(group: pb.TensorGroup, limit_bytes: int) -> tuple[GroupSpec, bytes]:
    """What a message's head says of a group of arrays, and the bytes that came with it.

    Raises:
        RemoteProtocolError: If it contradicts itself, or is too large.
    """
    leaves = tuple(
        LeafSpec(leaf.name, leaf.dtype, tuple(leaf.shape)) for leaf in group.leaves
    )
    spec = GroupSpec(leaves, group.size_bytes, group.crc32)
    check_spec(spec, limit_bytes)
    if len(group.inline) != (spec.size_bytes if spec.is_inline else 0):
        raise RemoteProtocolError(
            f"a group of {spec.size_bytes} bytes comes with {len(group.inline)} inline"
        )
    return spec, group.inline

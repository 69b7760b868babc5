"""A TCP proxy between workers and coordinator, so that connections can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")
_BLOCK = 1 << 16
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of 0 seconds: closing sends a reset, as a broken line would."""


class CuttableProxy:
    """Passes on bytes between its own port on loopback and another one.

    It runs in a thread of its own. A connection that cannot be passed on is reset.

    Args:
        target_port: Where to, on loopback.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._writers: set[asyncio.StreamWriter] = set()
        self._is_cut = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._call(self._listen())
        self.port: int = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Reset all connections, and from now on every new one."""
        self._is_cut = True
        self._call(self._reset_all())

    def mend(self) -> None:
        """Pass on new connections again."""
        self._is_cut = False

    def close(self) -> None:
        """End all connections and the thread."""
        self._is_cut = True
        self._call(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """One connection, until either side ends it or the network is cut."""
        ends = [writer]
        self._writers.add(writer)
        try:
            if self._is_cut:
                return
            there = await asyncio.open_connection("127.0.0.1", self._target_port)
            ends.append(there[1])
            self._writers.add(there[1])
            if not self._is_cut:
                await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))
        except OSError:
            return
        finally:
            for end in ends:
                self._writers.discard(end)
                _reset(end)

    async def _reset_all(self) -> None:
        for writer in list(self._writers):
            _reset(writer)

    async def _shut(self) -> None:
        self._server.close()
        await self._reset_all()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*rest, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """All bytes until the end of either; then the other ends as well."""
    while data := await reader.read(_BLOCK):
        writer.write(data)
        await writer.drain()
    raise ConnectionResetError


def _reset(writer: asyncio.StreamWriter) -> None:
    held = writer.get_extra_info("socket")
    if held is not None:
        with contextlib.suppress(OSError):
            held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()

"""The floor of a cluster round: gRPC and the bytes, nothing else.

One grpc.aio server, N processes that dial it. A round sends the payload to all of them
in 1 MiB chunks, and ends when all have sent it back.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from typing import Any

import grpc
import grpc.aio

CHUNK_BYTES = 1 << 20
METHOD = "/echo.Echo/Stream"
OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]


def chunks_of(payload: bytes) -> list[bytes]:
    """The payload in pieces, the last one marked by being empty."""
    starts = range(0, len(payload), CHUNK_BYTES)
    return [*(payload[at : at + CHUNK_BYTES] for at in starts), b""]


async def echo(address: str) -> None:
    """One worker: receive a payload, send it back, until the server goes away."""
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        call = channel.stream_stream(METHOD)()
        await call.write(b"hello")
        payload: list[bytes] = []
        while (chunk := await call.read()) is not grpc.aio.EOF:
            payload.append(chunk)
            if not chunk:
                for part in payload:
                    await call.write(part)
                payload = []


class EchoServer:
    """Keeps N streams open, and sends payloads round them."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._contexts: list[Any] = []
        self._all_there = asyncio.Event()
        self._over = asyncio.Event()

    async def start(self) -> str:
        """Listen; the address."""
        self._server = grpc.aio.server(options=OPTIONS)
        handler = grpc.stream_stream_rpc_method_handler(self._stream)
        service = grpc.method_handlers_generic_handler("echo.Echo", {"Stream": handler})
        self._server.add_generic_rpc_handlers([service])
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return f"127.0.0.1:{port}"

    async def _stream(self, _requests: Any, context: Any) -> None:
        await context.read()
        self._contexts.append(context)
        if len(self._contexts) == self._workers:
            self._all_there.set()
        await self._over.wait()

    async def measure(self, payload: bytes, rounds: int) -> list[float]:
        """Seconds of each round."""
        await self._all_there.wait()
        chunks = chunks_of(payload)
        seconds = []
        for _ in range(rounds):
            start = time.perf_counter()
            await asyncio.gather(
                *(self._one(context, chunks) for context in self._contexts)
            )
            seconds.append(time.perf_counter() - start)
        return seconds

    async def _one(self, context: Any, chunks: list[bytes]) -> None:
        for chunk in chunks:
            await context.write(chunk)
        while await context.read():
            pass

    async def stop(self) -> None:
        """Let the workers go."""
        self._over.set()
        await self._server.stop(1)


def _start(workers: int, address: str) -> list[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "benchmarks.raw_echo", address]
    return [subprocess.Popen(command) for _ in range(workers)]


def raw_rounds(workers: int, size_bytes: int, rounds: int) -> tuple[list[float], float]:
    """Seconds of each of so many rounds of raw gRPC; the server's processor time."""

    async def run() -> tuple[list[float], float]:
        server = EchoServer(workers)
        address = await server.start()
        children = _start(workers, address)
        try:
            payload, before_s = os.urandom(size_bytes), time.process_time()
            seconds = await server.measure(payload, rounds)
            return seconds, time.process_time() - before_s
        finally:
            await server.stop()
            for child in children:
                child.wait(timeout=30)

    return asyncio.run(run())


if __name__ == "__main__":
    asyncio.run(echo(sys.argv[1]))

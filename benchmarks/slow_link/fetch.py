"""A worker that fetches one file of a run over the slow link, at its far end.

It goes on where a broken transfer stopped, as workers do, and prints a line of JSON:
`fetch_s`, and `breaks`, the connections that broke.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
import time

from mlpeft.runtime import fingerprint
from mlpeft.runtime.worker.grpc_link import GrpcLink
from mlpeft.runtime.worker.link import LinkLostError
from mlpeft.transport.rpc.join_codec import JoinRequest

BLOB = "0" * 64
"""What the file is asked for by."""


async def fetch(address: str, size_bytes: int) -> dict[str, float]:
    """Seconds until the file is there."""
    protocol, mlpeft, mlx, *_ = dataclasses.astuple(fingerprint.own_versions())
    request = JoinRequest(protocol, mlpeft, mlx, "w0", "w0")
    link, got, breaks = GrpcLink(address), 0, 0
    start = time.perf_counter()
    while got < size_bytes:
        try:
            joined = await link.join(request)
            async for piece in link.fetch(joined.worker_id, BLOB, got):
                got += len(piece)
        except LinkLostError:
            breaks += 1
    seconds = time.perf_counter() - start
    await link.close()
    return {"fetch_s": seconds, "breaks": breaks}


if __name__ == "__main__":
    outcome = asyncio.run(fetch(sys.argv[1], int(sys.argv[2])))
    print(json.dumps(outcome))

"""What a worker says of a connection that stood still until pings ran out."""

import asyncio

import grpc
import grpc.aio
import numpy as np
import pytest

from mlpeft.cluster.protocol import LeaseKey, Theta, Update, Welcome
from mlpeft.runtime.worker.grpc_link import GrpcLink, GrpcStream
from mlpeft.runtime.worker.link import LinkLostError
from mlpeft.transport.rpc import codec
from mlpeft.work import ShardUpdate

KEY = LeaseKey("s", 1, 0, 1)


class Call:
    """A stream that hands out frames and then stands still until pings run out."""

    def __init__(self, frames, detail):
        self.frames = list(frames)
        self.detail = detail

    async def read(self):
        if self.frames:
            return self.frames.pop(0)
        await asyncio.sleep(0)  # the writer's turn
        metadata = grpc.aio.Metadata()
        code = grpc.StatusCode.UNAVAILABLE
        raise grpc.aio.AioRpcError(code, metadata, metadata, self.detail)

    async def write(self, frame):
        pass

    def cancel(self):
        pass


def lost(
    *frames,
    theta_comes=False,
    sending=None,
    detail="Stream removed (ping timeout)",
):
    """The reason with which such a stream ends."""

    async def run():
        call = Call(frames, detail)
        stream = GrpcStream(call, GrpcLink("head:1")._explain)
        if sending is not None:
            stream.send(sending)
        try:
            await stream.receive()  # Welcome
            if theta_comes:
                await stream.receive()
            with pytest.raises(LinkLostError) as caught:
                await stream.receive()
        finally:
            stream.close()
        return str(caught.value)

    return asyncio.run(run())


def frames(*messages):
    return [frame for message in messages for frame in codec.encode_down(message)]


WELCOME = frames(Welcome(1.0))
THETA = frames(Theta(0, {"w": np.ones(200_000, np.float32)}))
HINT = "large packets may vanish where small ones pass"


def test_it_names_the_transfer_that_stood_still_and_the_likely_cause():
    update = ShardUpdate(0, 1, {"w": np.ones(200_000, np.float32)}, {})
    up = lost(*WELCOME, *THETA, theta_comes=True, sending=Update(KEY, 0, update))
    assert "kB of an update were sent" in up
    assert HINT in up
    down = lost(*WELCOME, *THETA[:-1])
    assert "theta was on its way" in down
    assert HINT in down
    assert "the first theta was expected" in lost(*WELCOME)


def test_without_a_transfer_and_for_other_reasons_it_is_a_broken_connection():
    assert lost(*WELCOME, *THETA, theta_comes=True) == "the connection to head:1 broke"
    assert lost(*WELCOME, detail="Socket closed") == "the connection to head:1 broke"

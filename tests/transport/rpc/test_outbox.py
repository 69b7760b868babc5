"""The order in which frames leave."""

import asyncio

from mlpeft.transport.rpc.outbox import Outbox


async def drain(outbox):
    return [frame async for frame in outbox.frames()]


def test_small_messages_overtake_the_frames_of_large_ones():
    async def scenario():
        outbox = Outbox()
        outbox.put_large([b"a1", b"a2"])
        outbox.put_large([b"b1"])
        frames = outbox.frames()
        seen = [await anext(frames)]
        outbox.put(b"beat")
        outbox.finish()
        return seen + [frame async for frame in frames]

    assert asyncio.run(scenario()) == [b"a1", b"beat", b"a2", b"b1"]


def test_a_waiting_sender_is_woken_by_a_message_and_by_the_end():
    async def scenario():
        outbox = Outbox()
        task = asyncio.create_task(drain(outbox))
        await asyncio.sleep(0)
        outbox.put(b"x")
        await asyncio.sleep(0)
        outbox.finish()
        return await task

    assert asyncio.run(scenario()) == [b"x"]


def test_frames_of_a_large_message_are_made_as_they_are_sent():
    made = []

    def frames():
        for index in range(3):
            made.append(index)
            yield bytes([index])

    async def scenario():
        outbox = Outbox()
        outbox.put_large(frames())
        await anext(outbox.frames())

    asyncio.run(scenario())
    assert made == [0]

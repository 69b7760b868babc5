"""The order in which frames leave."""

import asyncio

import numpy as np

from mlpeft.cluster import protocol as p
from mlpeft.transport.rpc import bundles, codec
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


def test_what_waits_goes_out_together_with_the_head_of_a_large_message():
    async def scenario():
        outbox = Outbox()
        outbox.put_large([b"head", b"rest"])
        outbox.put_large([b"next"])
        for _ in range(100):
            outbox.put(b"beat")
        outbox.finish()
        return await drain(outbox)

    first, second, *others = map(bundles.decode, asyncio.run(scenario()))
    assert list(first) == [b"beat"] * 63
    assert list(second) == [b"beat"] * 37 + [b"head"]
    assert [list(frames) for frames in others] == [[b"rest"], [b"next"]]


def test_large_messages_are_not_bundled_with_small_ones():
    async def scenario():
        outbox = Outbox()
        sizes = (200 << 10, 100 << 10, 1)
        for size in sizes:
            outbox.put(bytes(size))
        outbox.finish()
        return [len(bundles.decode(frame)) for frame in await drain(outbox)]

    assert asyncio.run(scenario()) == [1, 2]


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


class Reader:
    """The other end: takes frames, and acknowledges as a decoder says."""

    def __init__(self, outbox):
        self.outbox = outbox
        self.decoder = codec.DownDecoder(1 << 30)
        self.sizes = []
        self.messages = []

    async def read(self, frames, count=None):
        """Read so many frames, or all."""
        async for frame in frames:
            self.take(frame)
            count = None if count is None else count - 1
            if count == 0:
                return

    def take(self, frame):
        self.sizes.append(len(frame))
        message = self.decoder.feed(frame)
        if message is not None:
            self.messages.append(message)
        read = self.decoder.acknowledgement()
        if read is not None:
            self.outbox.acknowledge(read.read_bytes)


def theta(version, size=600_000):
    return p.Theta(version, {"w": np.arange(size, dtype=np.float32) + version})


def test_chunks_are_cut_until_the_other_side_has_shown_that_it_is_fast():
    """Frames of 1 MiB, which other streams share, leave in parts and come out whole."""

    async def scenario():
        outbox = Outbox()
        outbox.put_large(codec.encode_down(theta(1)))
        outbox.put_large(codec.encode_down(theta(2, 8_000_000)))
        outbox.finish()
        reader = Reader(outbox)
        await reader.read(outbox.frames())
        return reader

    reader = asyncio.run(scenario())
    first, last = reader.messages
    assert first.meta["w"].tobytes() == theta(1).meta["w"].tobytes()
    assert last.meta["w"].tobytes() == theta(2, 8_000_000).meta["w"].tobytes()
    assert reader.sizes[1] < 5000
    assert max(reader.sizes) > 1 << 20


def test_unread_chunks_stop_the_next_ones_but_no_small_message():
    async def scenario():
        outbox = Outbox()
        outbox.put_large(codec.encode_down(theta(1)))
        frames = outbox.frames()
        sent = [await anext(frames) for _ in range(5)]
        following = asyncio.ensure_future(anext(frames))
        await asyncio.sleep(0)
        assert not following.done()
        outbox.put(b"beat")
        assert await following == b"beat"
        reader = Reader(outbox)
        for frame in sent:
            reader.take(frame)
        return len(await anext(frames))

    assert asyncio.run(scenario()) > 4000


def test_a_new_theta_replaces_the_one_on_its_way():
    """Where rounds are faster than a worker's link, no thetas queue up behind it."""

    async def scenario():
        outbox = Outbox()
        outbox.put_large(codec.encode_down(theta(1)))
        frames, reader = outbox.frames(), Reader(outbox)
        await reader.read(frames, count=3)
        outbox.drop_large()
        outbox.put_large(codec.encode_down(theta(2)))
        outbox.finish()
        await reader.read(frames)
        return reader.messages

    (message,) = asyncio.run(scenario())
    assert message.version == 2
    assert message.meta["w"].tobytes() == theta(2).meta["w"].tobytes()


def test_it_says_how_much_of_a_large_message_was_read():
    async def scenario():
        outbox = Outbox()
        outbox.put_large(codec.encode_down(theta(7)), 2_400_000, 7)
        assert outbox.progress() is None
        frames, reader = outbox.frames(), Reader(outbox)
        await reader.read(frames, count=3)
        seen = [outbox.progress()]
        outbox.finish()
        await reader.read(frames)
        return [*seen, outbox.progress()]

    (label, done, total), end = asyncio.run(scenario())
    assert label == 7
    assert 8192 <= done < 16384
    assert total == 2_400_000
    assert end == (7, total, total)

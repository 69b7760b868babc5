"""Files that are fetched in ranges."""

import asyncio

import pytest

from mlpeft.errors import DataError
from mlpeft.runtime.worker.ranges import in_ranges
from mlpeft.transport.rpc.window import LEAST_BYTES

CONTENT = bytes(range(256)) * 4000


class Source:
    """A file behind a link that takes a while for each range."""

    def __init__(self, delay_s=0.0):
        self.delay_s = delay_s
        self.asked = []
        self.under_way = self.most_under_way = 0

    async def __call__(self, offset, most_bytes):
        self.asked.append((offset, most_bytes))
        self.under_way += most_bytes
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(self.delay_s)
        self.under_way -= most_bytes
        data = CONTENT[offset : offset + most_bytes]
        return [piece for piece in (data[:1000], data[1000:]) if piece]


async def everything(source, offset=0):
    return b"".join([piece async for piece in in_ranges(source, offset)])


@pytest.mark.parametrize("offset", [0, 1, 999_999, len(CONTENT) - 1, len(CONTENT)])
def test_the_ranges_of_a_file_are_its_bytes_in_order(offset):
    assert asyncio.run(everything(Source(), offset)) == CONTENT[offset:]


def test_few_bytes_are_on_the_way_at_first_and_more_if_they_come_soon():
    source = Source()
    asyncio.run(everything(source))
    assert source.asked[0] == (0, LEAST_BYTES // 4)
    assert max(size for _, size in source.asked) > 100_000


def test_a_slow_file_keeps_no_more_on_the_way_than_half_a_second():
    async def some():
        source = Source(delay_s=0.6)
        pieces = in_ranges(source, 0)
        for _ in range(3):
            await anext(pieces)
        await pieces.aclose()
        return source.most_under_way

    assert asyncio.run(some()) <= 2 * LEAST_BYTES


def test_a_range_that_fails_ends_the_file_with_its_reason():
    async def broken(offset, _most_bytes):
        if offset:
            raise DataError("the disk is gone")
        return [CONTENT[: LEAST_BYTES // 4]]

    with pytest.raises(DataError, match="the disk is gone"):
        asyncio.run(everything(broken))

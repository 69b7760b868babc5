"""Files that are served to workers."""

import asyncio
import io
import threading
from types import SimpleNamespace

import pytest

from mlpeft.runtime.coordinator.blob_service import send_blob
from mlpeft.transport.rpc import blob_codec
from tests.runtime.toy import bounded


class SlowDisk:
    """A file that is opened when `go_on` is set."""

    def __init__(self):
        self.file = io.BytesIO(b"content")
        self.asked, self.go_on = threading.Event(), threading.Event()

    def open(self, offset):
        self.asked.set()
        self.go_on.wait(30)
        return self.file

    def send(self):
        """The call of a worker that asks for the file."""
        blob = SimpleNamespace(size_bytes=7, open=self.open)
        driver = SimpleNamespace(joins=SimpleNamespace(blob=lambda _: blob))
        request = blob_codec.encode_request(blob_codec.BlobRequest("ada", "a" * 64, 0))
        return send_blob(driver, request, None, lambda: None)


def test_a_call_that_ends_while_its_file_is_opened_leaves_it_closed():
    """The disk is slow, and the worker goes before it answers."""
    disk = SlowDisk()

    async def scenario():
        call = asyncio.create_task(disk.send())
        await asyncio.to_thread(disk.asked.wait, 30)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        disk.go_on.set()
        while not disk.file.closed:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0)

    bounded(scenario())


def test_the_end_of_the_loop_leaves_a_file_that_is_being_opened_closed():
    """`asyncio.run` cancels every task; the disk answers after that."""
    disk = SlowDisk()

    async def scenario():
        call = asyncio.create_task(disk.send())
        await asyncio.to_thread(disk.asked.wait, 30)
        call.add_done_callback(lambda _: disk.go_on.set())
        # The end of this coroutine ends the loop.

    bounded(scenario())
    assert disk.file.closed

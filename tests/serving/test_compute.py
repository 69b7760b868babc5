"""The thread that embeds: it joins requests and refuses too many."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from mlpeft.serving.compute import BATCH_TEXTS, BusyError, ComputeThread, StoppedError


class Counting:
    """An encoder whose vectors are the lengths of the texts; it can be held up."""

    def __init__(self):
        self.calls = []
        self.began, self.go_on = threading.Event(), threading.Event()

    def __call__(self, texts):
        self.began.set()
        assert self.go_on.wait(20)
        self.calls.append(len(texts))
        if "bad" in texts:
            raise ValueError("bad text")
        return np.array([[len(text)] for text in texts], np.float32)


@pytest.fixture
def thread():
    made = ComputeThread(most_waiting=2 * BATCH_TEXTS)
    yield made
    made.close()


def test_requests_that_wait_are_embedded_together_and_get_their_own_rows(thread):
    encoder, other = Counting(), Counting()
    first = thread.embed(encoder, ["a"])
    assert encoder.began.wait(20)
    waiting = [thread.embed(encoder, ["bb", "ccc"]), thread.embed(other, ["d"])]
    waiting += [thread.embed(encoder, ["eeee"])]
    assert thread.waiting == 4
    for one in (encoder, other):
        one.go_on.set()
    rows = [future.result(20).ravel().tolist() for future in (first, *waiting)]
    assert rows == [[1], [2, 3], [1], [4]]
    assert encoder.calls == [1, 3]


def test_a_batch_has_an_end(thread):
    encoder = Counting()
    first = thread.embed(encoder, ["a"])
    assert encoder.began.wait(20)
    full = thread.embed(encoder, ["b"] * BATCH_TEXTS)
    later = thread.embed(encoder, ["c"])
    encoder.go_on.set()
    for future in (first, full, later):
        future.result(20)
    assert encoder.calls == [1, BATCH_TEXTS, 1]


def test_more_texts_than_may_wait_are_refused_but_never_a_first_request(thread):
    encoder = Counting()
    encoder.go_on.set()
    thread.embed(encoder, ["a"] * 3 * BATCH_TEXTS).result(20)
    encoder.go_on.clear()
    encoder.began.clear()
    first = thread.embed(encoder, ["a"])
    assert encoder.began.wait(20)
    thread.embed(encoder, ["a"])
    with pytest.raises(BusyError, match=r"1 texts wait and 256 more came"):
        thread.embed(encoder, ["a"] * 2 * BATCH_TEXTS)
    thread.embed(encoder, ["a"] * 2 * BATCH_TEXTS, bounded=False)
    encoder.go_on.set()
    first.result(20)


def test_an_error_is_that_of_the_requests_of_its_batch(thread):
    encoder = Counting()
    encoder.go_on.set()
    with pytest.raises(ValueError, match="bad text"):
        thread.embed(encoder, ["bad"]).result(20)
    assert thread.call(lambda: 7).result(20) == 7


def test_at_the_end_what_waits_is_told():
    thread, encoder = ComputeThread(most_waiting=9), Counting()
    first = thread.embed(encoder, ["a"])
    assert encoder.began.wait(20)
    second = thread.embed(encoder, ["b"])
    closing = threading.Thread(target=thread.close)
    closing.start()
    encoder.go_on.set()
    closing.join(20)
    assert first.result(20).tolist() == [[1.0]]
    with pytest.raises(StoppedError):
        second.result(20)
    with pytest.raises(StoppedError, match="is stopping"):
        thread.embed(encoder, ["c"])

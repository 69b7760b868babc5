"""Threads that used MLX, and the end of the process."""

from __future__ import annotations

import sys
import threading

import pytest

from mlpeft.config import RunConfig
from mlpeft.platform import process
from mlpeft.platform.process import wait_for_thread_end
from mlpeft.runtime import compute

needs_waiting = pytest.mark.skipif(
    sys.version_info >= (3, 13) or not sys.platform.startswith("linux"),
    reason="here a join is enough, or nobody says whether a thread is there",
)


def test_a_joined_thread_is_soon_gone() -> None:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    assert thread.native_id is not None
    gone = wait_for_thread_end(thread.native_id)
    assert gone or not sys.platform.startswith("linux")


@needs_waiting
def test_a_running_thread_is_not_reported_as_ended() -> None:
    assert not wait_for_thread_end(threading.get_native_id(), timeout_s=0.0)


def test_on_other_systems_it_waits_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(process.sys, "platform", "darwin")
    monkeypatch.setattr(process.sys, "version_info", (3, 12))
    monkeypatch.setattr(process.time, "sleep", waited.append)
    assert wait_for_thread_end(1) is False
    assert len(waited) == 1


def test_a_closed_compute_thread_was_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited_for: list[int] = []
    monkeypatch.setattr(compute, "wait_for_thread_end", waited_for.append)
    inside: list[int] = []
    thread = compute.ComputeThread(
        lambda _: inside.append(threading.get_native_id()), lambda _: None
    )
    thread.prepare(RunConfig()).result(timeout=60)
    thread.close()
    assert waited_for == inside != [threading.get_native_id()]


def test_a_compute_thread_that_never_began_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compute, "wait_for_thread_end", pytest.fail)
    compute.ComputeThread(lambda _: None, lambda _: None).close()

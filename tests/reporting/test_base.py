"""Several reporters as one."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlpeft.config import RunConfig
from mlpeft.reporting import Reporters


class Spy:
    """Notes what it is told; fails to close if it should."""

    def __init__(self, fails: bool = False) -> None:
        self.told: list[tuple] = []
        self.fails = fails

    def __getattr__(self, name: str):
        return lambda *args: self.told.append((name, *args))

    def close(self) -> None:
        self.told.append(("close",))
        if self.fails:
            raise OSError("disk full")


def test_every_reporter_is_told_everything(config: RunConfig, result) -> None:
    spies = [Spy(), Spy()]
    reporters = Reporters(spies)
    reporters.start(config, Path("run"), 0)
    reporters.iteration(1, {"support_loss": 0.5})
    reporters.validation(1, result)
    reporters.checkpoint(1, Path("run/1"))
    reporters.message("hello")
    reporters.close()
    expected = [
        ("start", config, Path("run"), 0),
        ("iteration", 1, {"support_loss": 0.5}),
        ("validation", 1, result),
        ("checkpoint", 1, Path("run/1")),
        ("message", "hello"),
        ("close",),
    ]
    assert [spy.told for spy in spies] == [expected, expected]


def test_one_that_fails_to_close_does_not_keep_the_others_open() -> None:
    spies = [Spy(), Spy(fails=True), Spy()]
    with pytest.raises(OSError, match="disk full"):
        Reporters(spies).close()
    assert [spy.told for spy in spies] == [[("close",)]] * 3

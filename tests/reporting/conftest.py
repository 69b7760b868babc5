"""A configuration, a clock that only the test moves, and a result."""

from __future__ import annotations

import pytest

from mlpeft.config import RunConfig
from mlpeft.results import EvalResult


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def config() -> RunConfig:
    return RunConfig.from_dict(
        {"run": {"name": "tiny"}, "meta_learning": {"num_meta_iterations": 1000}}
    )


@pytest.fixture
def result() -> EvalResult:
    return EvalResult((0, 5), (1.0, 0.3), (0.1, 0.02), 50, (0.2, 0.9), (0.01, 0.006))

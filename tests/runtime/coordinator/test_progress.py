"""How far the run is, as the status tells it."""

from pathlib import Path

import pytest

from mlpeft.config import RunConfig
from mlpeft.results import EvalResult
from mlpeft.runtime.coordinator.progress import ProgressReporter

CONFIG = RunConfig.from_dict({"meta_learning": {"num_meta_iterations": 100}})
RESULT = EvalResult((0, 5), (1.0, 0.3), (0.1, 0.02), 50, (0.2, 0.9), (0.01, 0.006))


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_before_the_run_nothing_is_known(clock):
    progress = ProgressReporter(clock).progress()
    assert (progress.iteration, progress.iterations) == (0, 0)
    assert progress.per_second is progress.seconds_left is None


def test_a_resumed_run_counts_speed_from_where_it_went_on(clock):
    reporter = ProgressReporter(clock)
    reporter.start(CONFIG, Path(), 40)
    for iteration in range(41, 61):
        clock.now += 0.5
        reporter.iteration(iteration, {})
    reporter.validation(60, RESULT)
    reporter.message("since meta-iteration 40 some shards are computed vmap")
    seen = reporter.progress()
    assert (seen.iteration, seen.iterations) == (60, 100)
    assert (seen.per_second, seen.seconds_left) == (2.0, 20.0)
    assert seen.validation == "60: accuracy 90.0 ± 0.6 % after 5 steps"
    assert seen.message == "since meta-iteration 40 some shards are computed vmap"


def test_the_newest_iteration_is_told_though_not_each_is_timed(clock):
    """A thousand a second: a look at the clock each, no more."""
    reporter = ProgressReporter(clock)
    reporter.start(CONFIG, Path(), 0)
    for iteration in range(1, 8):
        clock.now += 0.001
        reporter.iteration(iteration, {})
    assert reporter.progress().iteration == 7


def test_while_nothing_moves_the_speed_falls(clock):
    reporter = ProgressReporter(clock)
    reporter.start(CONFIG, Path(), 0)
    clock.now += 1
    reporter.iteration(10, {})
    clock.now += 99
    assert reporter.progress().per_second == 0.1

"""A search in a queue: each run gets its setting when its turn comes."""

import pytest

from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError
from mlpeft.evaluation.sweep import Setting
from mlpeft.queue import plan, searching
from mlpeft.queue.entry import State
from mlpeft.queue.plan import planned_search
from mlpeft.queue.searching import settle
from mlpeft.queue.store import Queue

LR = "meta_learning.inner_lr"


class Counting:
    """Proposes 0.1, 0.2, ...; keeps what it was told."""

    last: "Counting"

    def __init__(self, space, seed):
        self.space, self.seed, self.turn, self.told = space, seed, 0, []
        Counting.last = self

    def ask(self):
        self.turn += 1
        return Setting(((LR, f"{self.turn / 10}"),))

    def tell(self, score):
        self.told.append(score)


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """A queue with a search of three runs, whose proposals are known."""
    for module in (plan, searching):
        monkeypatch.setattr(module, "Study", Counting)
    file = tmp_path / "digits.yaml"
    file.write_text("run: {seed: 3}\n")
    planned = planned_search(file, [], 3, ranges=[f"{LR}=0.1:1"])
    store = Queue(tmp_path / "queue")
    store.add(planned.configs, tmp_path, space=(planned.values, planned.ranges))
    return store


def test_the_runs_of_a_search_have_names_and_no_settings_before_they_start(queue):
    names = [run.name for run in queue.runs()]
    assert names == ["digits_search1", "digits_search2", "digits_search3"]
    assert {run.setting for run in queue.runs()} == {""}


def test_a_run_is_proposed_from_what_the_earlier_ones_came_to(queue, monkeypatch):
    """The first is done, the second failed; the third knows both."""
    first, second, third = queue.runs()
    queue.end(first.number, State.DONE, "")
    queue.end(second.number, State.FAILED, "no luck")
    scored = type("Scored", (), {"score": 0.7})
    monkeypatch.setattr(searching, "best_validation", lambda _: scored)
    settle(queue, third)
    told = Counting.last.told
    assert (told[0], Counting.last.seed) == (0.7, 3)
    assert told[1] != told[1]
    assert queue.runs()[2].setting == "inner_lr=0.3"
    config = RunConfig.load(queue.config_file(third.number))
    assert (config.run.name, config.meta_learning.inner_lr) == ("digits_search3", 0.3)


def test_a_run_keeps_its_setting_when_it_starts_again(queue, monkeypatch):
    settle(queue, queue.runs()[0])
    monkeypatch.setattr(searching, "Study", None)  # asked again, it would fail
    settle(queue, queue.runs()[0])
    assert queue.runs()[0].setting == "inner_lr=0.1"


def test_a_run_that_was_removed_counts_as_one_that_failed(queue):
    """The proposals of those after it do not move up."""
    first, second, _ = queue.runs()
    queue.remove([first.number])
    settle(queue, second)
    assert queue.runs()[0].setting == "inner_lr=0.2"


@pytest.mark.parametrize(
    ("ranges", "told"),
    [
        ([], "nothing to choose"),
        ([f"{LR}=-1:1"], "inner_lr"),
        ([f"{LR}=1"], "LOW:HIGH"),
    ],
)
def test_a_search_that_cannot_be_says_what_is_wrong(queue, tmp_path, ranges, told):
    with pytest.raises(ConfigError, match=told):
        planned_search(tmp_path / "digits.yaml", [], 2, ranges=ranges)

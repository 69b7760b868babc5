"""What counts of that which an engine brings, with an engine of one line a shard."""

from dataclasses import replace

import numpy as np
import pytest

from mlpeft.cluster.sim import toy_shards, toy_update
from mlpeft.runtime.engines.engine import (
    Broken,
    Done,
    EngineError,
    Lost,
    NoWorkerError,
)
from mlpeft.runtime.engines.executor import EngineExecutor
from mlpeft.runtime.engines.patience import SAY_S, Patience
from mlpeft.runtime.engines.shard import Reply
from tests.training.executor_contract import CONFIG, META, serial_total, total

SHARDS = toy_shards(0)
GOOD = {shard.index: toy_update(META["w"], shard) for shard in SHARDS}


def scaled(update, factor):
    return replace(update, total={"w": update.total["w"] * np.float32(factor)})


class Scripted:
    """An engine whose answers a function gives, in the order of the shards."""

    name, address = "Toy", "here"

    def __init__(self, answer, names=("ada", "bob")):
        self.names = list(names)
        self.answer = answer
        self.queue = []
        self.asked = []  # (shard, worker)
        self.thetas = 0

    def workers(self):
        return self.names

    def put(self, name, meta):
        if not self.names:
            raise NoWorkerError("nobody")
        self.thetas += 1
        return self.thetas

    def release(self, theta):
        pass

    def submit(self, theta, shards, avoid=()):
        able = [name for name in self.names if name not in avoid]
        for shard in shards:
            self.asked.append((shard.index, able[0]))
            self.queue.append((shard, able[0]))

    def next_done(self, timeout_s):
        if not self.queue:
            return None
        shard, worker = self.queue.pop(0)
        result = self.answer(shard.index, worker)
        if not isinstance(result, Lost | Broken | Reply):
            result = Reply(worker, result)
        return Done(shard.index, result)

    def cancel(self):
        self.queue.clear()

    def close(self):
        pass


def run(engine, config=CONFIG, **hooks):
    return EngineExecutor(engine, config, **hooks).run(0, META, SHARDS)


def test_an_update_that_is_refused_is_asked_of_another_worker():
    def answer(shard, worker):
        return scaled(GOOD[shard], np.nan if (shard, worker) == (1, "ada") else 1)

    engine = Scripted(answer)
    assert total(run(engine)) == serial_total(META, SHARDS)
    assert engine.asked == [(0, "ada"), (1, "ada"), (2, "ada"), (1, "bob")]


def test_an_outlier_counts_once_a_second_worker_finds_the_same():
    engine = Scripted(lambda shard, _: scaled(GOOD[shard], 1e8 if shard == 1 else 1))
    result = run(engine)
    assert engine.asked[-1] == (1, "bob")
    assert result.totals.count == 6


def test_alone_the_same_worker_may_find_it_twice():
    engine = Scripted(
        lambda shard, _: scaled(GOOD[shard], 1e8 if shard == 1 else 1), names=["ada"]
    )
    run(engine)
    assert engine.asked[-1] == (1, "ada")


def test_what_is_refused_everywhere_ends_the_round_with_a_list():
    engine = Scripted(lambda shard, _: scaled(GOOD[shard], np.nan))
    with pytest.raises(EngineError) as caught:
        run(engine)
    text = str(caught.value)
    assert text.startswith("shard 0 of meta-iteration 0 failed 3 times:\n")
    assert "attempt 1 on ada: refused: its sum has 16 values" in text
    assert "attempt 2 on bob: refused" in text


def test_a_worker_that_may_not_compute_gets_no_more_shards():
    def answer(shard, worker):
        return (
            Reply(worker, None, "versions differ") if worker == "ada" else GOOD[shard]
        )

    engine = Scripted(answer)
    made = EngineExecutor(engine, CONFIG)
    assert total(made.run(0, META, SHARDS)) == serial_total(META, SHARDS)
    engine.asked.clear()
    made.run(1, META, SHARDS)
    assert {worker for _, worker in engine.asked} == {"bob"}


def test_if_no_worker_may_compute_the_refusal_is_the_error():
    engine = Scripted(lambda _, worker: Reply(worker, None, "versions differ: MLX"))
    with pytest.raises(EngineError, match=r"no worker of Toy .* versions differ: MLX"):
        run(engine)


def test_theta_that_was_lost_with_its_workers_is_given_again():
    lost = [Lost("gone")]
    engine = Scripted(lambda shard, _: lost.pop() if lost else GOOD[shard])
    assert total(run(engine)) == serial_total(META, SHARDS)
    assert engine.thetas == 2


def test_theta_is_given_again_once_however_many_shards_were_lost_with_it():
    lost = [Lost("gone"), Lost("gone"), Lost("gone")]
    engine = Scripted(lambda shard, _: lost.pop() if lost else GOOD[shard])
    assert total(run(engine)) == serial_total(META, SHARDS)
    assert engine.thetas == 2


def test_equal_thetas_of_two_versions_are_given_once():
    engine = Scripted(lambda shard, _: GOOD[shard])
    made = EngineExecutor(engine, CONFIG)
    made.run(0, META, SHARDS)
    made.run(1, {"w": META["w"].copy()}, SHARDS)
    assert engine.thetas == 1


def test_what_the_engine_gave_up_is_an_error_that_names_the_shard():
    engine = Scripted(lambda shard, _: Broken("MemoryError") if shard else GOOD[shard])
    with pytest.raises(
        EngineError, match=r"shard 1 of .*; Toy has tried it 3 times: MemoryError"
    ):
        run(engine)


def test_a_round_waits_for_the_first_worker():
    engine = Scripted(lambda shard, _: GOOD[shard], names=())
    looks = []

    def should_stop():
        looks.append(1)
        if len(looks) == 2:
            engine.names.append("ada")
        return False

    assert total(run(engine, should_stop=should_stop)) == serial_total(META, SHARDS)


def test_a_round_says_what_it_waits_for(monkeypatch, caplog):
    """The first shard takes long: nothing comes at the first look."""
    monkeypatch.setattr("mlpeft.runtime.engines.patience.SAY_S", 0.0)
    caplog.set_level("INFO")
    engine = Scripted(lambda shard, _: GOOD[shard])
    looks = [None]
    next_done = engine.next_done
    monkeypatch.setattr(
        engine, "next_done", lambda s: looks.pop() if looks else next_done(s)
    )
    run(engine)
    assert "0 of 3 shards done on Toy, which has 2 workers" in caplog.text


def test_patience_is_bounded_and_never_silent(caplog):
    """Nobody at 0 s; a line every SAY_S; at 25 s the end, unless somebody came."""
    engine = Scripted(None, names=())
    now = [0.0]
    patience = Patience(engine, 25.0, clock=lambda: now[0])
    for second in range(25):
        now[0] = float(second)
        assert not patience.check()
    assert len(caplog.records) == int(24 // SAY_S)
    assert "waiting for workers of Toy at here: 0 of 1, for 15 s more" in caplog.text
    now[0] = 25.0
    with pytest.raises(EngineError, match="has 0 of 1 worker after 25 s"):
        patience.check()
    engine.names.append("ada")
    assert patience.check()

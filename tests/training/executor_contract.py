"""What every `mlpeft.work.Executor` must do: a suite to inherit.

    class TestMine(ExecutorContract):
        def make(self, runner, config, should_stop, progress): ...

Shards are those of the simulator's toy run: their sum has other bits in another order.
"""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from mlpeft import params
from mlpeft.cluster.sim import TOY_SIZE, toy_shards, toy_update
from mlpeft.config import RunConfig
from mlpeft.errors import LocalProtocolError, MlpeftError
from mlpeft.rounds import SeparateTotals, SummedTotals
from mlpeft.work import Kind, RoundInterruptedError, ShardUpdate

CONFIG = RunConfig.from_dict(
    {
        "cluster": {"heartbeat_s": 0.05, "max_attempts": 3},
        # A regression without queries, scored after one step: what `Runner` returns.
        "task_distribution": {"task_families": ["sinusoid"], "train_query_size": 0},
        "evaluation": {"num_inner_steps": 1, "steps": [1]},
    }
)
MEDIAN = CONFIG.with_changes(meta_learning={"aggregation": "coordinate_median"})
META = {"w": np.ones(TOY_SIZE, dtype=np.float32)}
OTHER = {"w": np.full(TOY_SIZE, 0.3, dtype=np.float32)}


class Runner:
    """Computes toy shards.

    Args:
        config: The run's.
        before: Called with a shard and its progress before it is computed; it may wait,
            or raise.
    """

    def __init__(self, config, before):
        self.config = config
        self._before = before

    def run(self, meta, shard, progress=lambda _: None):
        self._before(shard, progress)
        update = toy_update(meta["w"], shard)
        for done in range(len(shard.tasks)):
            progress(done + 1)
        if shard.kind is Kind.TRAIN:
            return update
        return ShardUpdate(shard.index, update.count, {}, scores(shard))


def scores(shard):
    return {"loss": np.array([[task.seed] for task in shard.tasks], np.float32)}


def validation():
    """Three shards of two tasks."""
    return [replace(shard, kind=Kind.VALIDATE) for shard in toy_shards(1)]


def serial_total(meta, shards):
    """The bytes that a round must have: a plain sum in the order of shards."""
    totals = [toy_update(meta["w"], shard).total["w"] for shard in shards]
    total = totals[0]
    for other in totals[1:]:
        total = total + other
    return total.tobytes()


def total(result):
    return result.totals.total["w"].tobytes()


def nothing(*_):
    """A hook that does nothing."""


class ExecutorContract:
    """Inherit it and say how an executor is made.

    Attributes:
        retries: Whether the executor tries a shard again that failed.
    """

    retries: bool

    def make(self, runner, config, should_stop, progress):
        """An executor that computes with this runner.

        Args:
            runner: A `Runner`; it may be used from several threads.
            config: The run's configuration.
            should_stop: Says whether someone asked to stop.
            progress: To be called with what is done of a round, and how much it is.
        """
        raise NotImplementedError

    @pytest.fixture
    def executor(self):
        """Makes executors, and closes them at the end."""
        made = []

        def start(before=nothing, config=CONFIG, should_stop=bool, progress=nothing):
            runner = Runner(config, before)
            made.append(self.make(runner, config, should_stop, progress))
            return made[-1]

        yield start
        for each in made:
            each.close()

    # --- the same bytes ---------------------------------------------------------------

    def test_a_round_has_the_bytes_of_the_serial_sum_whichever_shard_is_done_first(
        self, executor
    ):
        """Each shard waits a moment for the next one, if there is somebody to do it."""
        shards = toy_shards(0)
        begun = [threading.Event() for _ in shards]

        def backwards(shard, _):
            begun[shard.index].set()
            for later in begun[shard.index + 1 :]:
                later.wait(0.1)
            time.sleep(0.02 * (len(shards) - shard.index))

        result = executor(backwards).run(0, META, shards)
        assert isinstance(result.totals, SummedTotals)
        assert total(result) == serial_total(META, shards)
        assert result.totals.count == 6
        losses = [toy_update(META["w"], shard).per_task for shard in shards]
        assert [shard["support_loss"].tolist() for shard in result.per_task] == [
            shard["support_loss"].tolist() for shard in losses
        ]

    def test_a_robust_rule_gets_the_total_of_each_shard(self, executor):
        shards = toy_shards(0)
        result = executor(config=MEDIAN).run(0, META, shards)
        assert isinstance(result.totals, SeparateTotals)
        assert [tree["w"].tobytes() for tree in result.totals.totals] == [
            toy_update(META["w"], shard).total["w"].tobytes() for shard in shards
        ]
        assert result.totals.counts == (2, 2, 2)

    def test_scores_come_in_the_order_of_tasks_and_without_totals(self, executor):
        shards = validation()
        result = executor().run(0, META, shards)
        assert result.totals == SummedTotals({}, 6)
        assert result.names() == ("loss",)
        expected = np.concatenate([scores(shard)["loss"] for shard in shards])
        assert result.over_tasks("loss").tolist() == expected.tolist()

    def test_neither_theta_nor_an_earlier_result_is_changed_later(self, executor):
        made = executor()
        first = made.run(0, META, toy_shards(0))
        kept = params.digest(first.totals.total)
        made.run(1, OTHER, toy_shards(1))
        made.run(1, OTHER, toy_shards(2))
        assert params.digest(first.totals.total) == kept
        assert (META["w"] == 1).all()

    # --- versions ---------------------------------------------------------------------

    def test_a_version_may_be_asked_for_again_and_a_new_one_is_another_theta(
        self, executor
    ):
        """As the training loop does: validation, training, and the next iteration."""
        made = executor()
        made.run(3, META, validation())
        shards = toy_shards(0)
        assert total(made.run(3, META, shards)) == serial_total(META, shards)
        assert total(made.run(3, META, shards)) == serial_total(META, shards)
        assert total(made.run(7, OTHER, shards)) == serial_total(OTHER, shards)
        assert serial_total(META, shards) != serial_total(OTHER, shards)

    @pytest.mark.parametrize(
        ("version", "shards"),
        [(4, toy_shards(0)), (5, ()), (5, toy_shards(0)[1:])],
        ids=["an older version", "no shards", "not the first shard"],
    )
    def test_what_is_no_round_is_refused_and_does_no_harm(
        self, executor, version, shards
    ):
        made = executor()
        made.run(5, META, toy_shards(0))
        with pytest.raises(LocalProtocolError):
            made.run(version, OTHER, shards)
        again = made.run(5, META, toy_shards(0))
        assert total(again) == serial_total(META, toy_shards(0))

    # --- what goes wrong --------------------------------------------------------------

    def test_an_attempt_that_failed_leaves_no_trace(self, executor):
        """The bytes are right; or it is an error, where nobody tries again."""
        tried = []

        def fail_once(shard, _):
            tried.append(shard.index)
            if tried.count(1) == 1 and shard.index == 1:
                raise MlpeftError("no more memory")

        made = executor(fail_once)
        try:
            result = made.run(0, META, toy_shards(0))
        except MlpeftError:
            assert not self.retries
            result = made.run(0, META, toy_shards(0))
        else:
            assert self.retries
        assert total(result) == serial_total(META, toy_shards(0))
        assert result.totals.count == 6

    def test_a_shard_that_cannot_be_computed_is_an_error_and_the_next_round_works(
        self, executor
    ):
        broken = threading.Event()
        broken.set()

        def fail(shard, _):
            if broken.is_set() and shard.index == 1:
                raise MlpeftError("no more memory")

        made = executor(fail)
        with pytest.raises(MlpeftError, match="no more memory"):
            made.run(0, META, toy_shards(0))
        broken.clear()
        result = made.run(0, META, toy_shards(0))
        assert total(result) == serial_total(META, toy_shards(0))

    # --- stopping ---------------------------------------------------------------------

    def test_a_round_that_is_stopped_counts_for_nothing_and_the_next_one_works(
        self, executor
    ):
        """1. Someone asks to stop while shard 1 is computed, which would take for ever.
        2. The round is given up.
        3. The next one, of another theta, has nothing of it.
        """
        stop = threading.Event()
        first = threading.Event()

        def endless(shard, progress):
            if shard.index != 1 or first.is_set():
                return
            stop.set()
            while True:
                progress(0)  # raises once the shard is no longer wanted
                time.sleep(0.01)

        made = executor(endless, should_stop=stop.is_set)
        with pytest.raises(RoundInterruptedError):
            made.run(0, META, toy_shards(0))
        first.set()
        stop.clear()
        result = made.run(1, OTHER, toy_shards(0))
        assert total(result) == serial_total(OTHER, toy_shards(0))

    def test_progress_begins_at_nothing_and_never_goes_back(self, executor):
        told = []
        made = executor(progress=lambda done, of: told.append((done, of)))
        for version in range(2):
            told.clear()
            made.run(version, META, toy_shards(version, shards=6))
            assert told[0][0] == 0
            assert told == sorted(told)
            assert len({of for _, of in told}) == 1
            assert all(done <= of for done, of in told)

    def test_it_may_be_closed_twice(self, executor):
        for rounds in range(2):
            made = executor()
            for version in range(rounds):
                made.run(version, META, toy_shards(version))
            made.close()
            made.close()

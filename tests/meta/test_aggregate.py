"""From the totals of a round to one tree, whatever the rule."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpeft import params
from mlpeft.config import RunConfig
from mlpeft.config.aggregation import trimmed
from mlpeft.errors import ConfigError
from mlpeft.meta.aggregate import combine
from mlpeft.rounds import RoundResult
from mlpeft.training.loop import train
from mlpeft.training.runner import ShardRunner
from mlpeft.work import Kind, ShardUpdate

RULES = ["mean", "trimmed_mean", "coordinate_median"]


def tree(value):
    return {"w": np.full((2, 3), value, np.float32)}


def update(index, *adapted):
    total = tree(0.0)
    for value in adapted:
        total = params.add(total, tree(value))
    return ShardUpdate(index, len(adapted), total)


def combined(updates, rule="mean", trim_fraction=0.25):
    """What an executor and the rule make of these updates."""
    result = RoundResult.of(updates, summed=rule == "mean")
    return combine(result.totals, rule, trim_fraction)


def updates(*values):
    return [update(index, value) for index, value in enumerate(values)]


def test_the_mean_weighs_tasks_not_shards():
    mean = combined([update(0, 1.0, 1.0, 1.0), update(1, 5.0)])
    assert mean["w"][0, 0] == 2.0


@pytest.mark.parametrize("rule", RULES)
@given(order=st.permutations(range(6)), seed=st.integers(0, 1000))
def test_the_order_of_arrival_leaves_no_trace(rule, order, seed):
    rng = np.random.default_rng(seed)
    updates = [
        ShardUpdate(i, 2, {"w": rng.normal(size=(4,)).astype(np.float32)})
        for i in range(6)
    ]
    shuffled = [updates[i] for i in order]
    assert params.digest(combined(updates, rule)) == params.digest(
        combined(shuffled, rule)
    )


def test_a_round_without_tasks_is_an_error():
    with pytest.raises(ValueError, match="no tasks"):
        combined([])
    with pytest.raises(ValueError, match="no tasks"):
        combined([ShardUpdate(0, 0, tree(1.0))])


@pytest.mark.parametrize("rule", RULES)
def test_totals_that_do_not_suit_the_rule_are_refused(rule):
    result = RoundResult.of(updates(1, 2, 3), summed=rule != "mean")
    with pytest.raises(ValueError, match=f"{rule} cannot use"):
        combine(result.totals, rule)


def test_the_median_of_an_odd_number_is_the_middle_value():
    assert combined(updates(9, 1, 2), "coordinate_median")["w"].max() == 2


def test_the_median_of_an_even_number_is_the_mean_of_the_two_in_the_middle():
    assert combined(updates(9, 1, 4, 2), "coordinate_median")["w"].max() == 3


def test_the_trimmed_mean_leaves_out_as_many_at_each_end():
    """A quarter of eight: 1, 2 and 7, 100 go; (3 + 4 + 5 + 6) / 4 = 4.5."""
    made = combined(updates(100, 1, 2, 3, 4, 5, 6, 7), "trimmed_mean", 0.25)
    assert made["w"].min() == made["w"].max() == 4.5


def test_robust_rules_look_at_each_number_by_itself():
    rows = [[0, 9], [1, 8], [2, -50]]
    shards = [
        ShardUpdate(index, 1, {"w": np.array(row, np.float32)})
        for index, row in enumerate(rows)
    ]
    assert combined(shards, "coordinate_median")["w"].tolist() == [1, 8]


def test_robust_rules_compare_the_means_of_shards():
    shards = [update(0, 1, 3), update(1, 2, 4), update(2, 50, 70)]
    assert combined(shards, "coordinate_median")["w"].max() == 3


@pytest.mark.parametrize("rule", RULES[1:])
def test_a_liar_moves_a_robust_rule_no_further_than_honest_values(rule):
    for lie in (1e30, -1e30):
        found = combined(updates(1, 2, 3, lie), rule)["w"]
        assert 1 <= found.min() <= found.max() <= 3
    assert combined(updates(1, 2, 3, 1e30))["w"].max() > 1e29, "the mean it does move"


@pytest.mark.parametrize("rule", RULES)
def test_what_comes_out_is_float32(rule):
    assert combined(updates(1, 2, 3, 4), rule)["w"].dtype == np.float32


def test_equal_values_stay_what_they_are_to_the_bit():
    for rule in RULES[1:]:
        same = combined(updates(*[0.1] * 6), rule)
        assert same["w"].tobytes() == tree(0.1)["w"].tobytes()


@pytest.mark.parametrize(
    ("shards", "fraction", "expected"),
    [(4, 0.25, 1), (5, 0.25, 1), (8, 0.25, 2), (100, 0.29, 29), (10, 0.09, 0)],
)
def test_trimming_rounds_down(shards, fraction, expected):
    assert trimmed(shards, fraction) == expected


# --- in a run -------------------------------------------------------------------------


def config(folder=".", rule="coordinate_median", **changes):
    tree = {
        "meta_learning": {
            "aggregation": rule,
            "meta_batch_size": 4,
            "num_meta_iterations": 6,
            "outer_lr": 0.5,
        },
        "task_distribution": {"num_train_tasks": 8, "num_val_tasks": 4},
        "model": {"hidden_dim": 8},
        "evaluation": {"num_val_episodes": 2},
        "compute": {},
        "paths": {"checkpoint_dir": str(folder)},
    }
    for key, value in changes.items():
        section, name = key.split("__")
        tree[section][name] = value
    return RunConfig.from_dict(tree)


def test_a_shard_has_one_task_under_a_robust_rule_unless_told_otherwise():
    runner = ShardRunner.from_config(config())
    assert (runner.config.compute.strategy, runner.config.compute.shard_size) == (
        "fused",
        1,
    )
    assert ShardRunner.from_config(config(rule="mean")).config.compute.shard_size == 4


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"meta_learning__meta_batch_size": 2}, "needs 3 shards or more, but 2 tasks"),
        ({"compute__shard_size": 2}, "in shards of 2 make 2; raise meta_learning.meta"),
        ({"compute__shard_size": 3}, "needs shards of equal size"),
        (
            {"rule": "trimmed_mean", "meta_learning__trim_fraction": 0.2},
            "is less than one, so none would be dropped; set it to 0.25 or more",
        ),
        ({"meta_learning__trim_fraction": 0.5}, "less than 0.5"),
    ],
)
def test_a_rule_that_makes_no_sense_for_the_shards_is_refused(changes, problem):
    with pytest.raises(ConfigError, match=problem):
        config(**changes)


class LyingRunner(ShardRunner):
    """The last training shard of each round is a hundred times too large."""

    def run(self, meta, shard, progress=lambda _: None):
        update = super().run(meta, shard, progress)
        tasks = self.config.meta_learning.meta_batch_size
        last = shard.index == tasks // self.config.compute.shard_size - 1
        if shard.kind is Kind.TRAIN and last:
            return replace(update, total=params.scale(update.total, np.float32(100)))
        return update


@pytest.mark.parametrize("rule", RULES)
def test_training_with_a_liar_stays_near_the_honest_one_only_under_robust_rules(
    rule, tmp_path
):
    # A round at a time, so that it can lie about each shard.
    settings = {"rule": rule, "compute__strategy": "loop"}
    honest = train(config(tmp_path / "honest", **settings))
    liar = LyingRunner.from_config(config(tmp_path / "lied", **settings))
    lied = train(liar.config, runner=liar)
    apart = params.global_norm(params.subtract(honest.meta, lied.meta))
    size = params.global_norm(honest.meta)
    assert (apart < size) == (rule != "mean")

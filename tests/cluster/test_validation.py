"""What the gate lets through, and what it says of the rest."""

import numpy as np
import pytest

from mlpeft.cluster.validation import reject_reason
from mlpeft.params import schema
from mlpeft.work import Kind, Shard, ShardUpdate, TaskSpec

TASKS = (TaskSpec("a", 1), TaskSpec("b", 2))
TRAIN = Shard(0, 3, Kind.TRAIN, TASKS)
VALIDATE = Shard(0, 3, Kind.VALIDATE, TASKS)
LEAVES = {
    "w": np.ones((4, 2), dtype=np.float32),
    "b": np.zeros(2, dtype=np.float32),
}
SCHEMA = schema(LEAVES)
LOSS = {"support_loss": np.array([1.0, 2.0], dtype=np.float32)}


def update(index=3, count=2, total=LEAVES, per_task=LOSS):
    return ShardUpdate(index, count, dict(total), dict(per_task))


def test_a_good_update_passes():
    assert reject_reason(TRAIN, SCHEMA, update()) is None
    assert reject_reason(VALIDATE, SCHEMA, update(total={})) is None


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (update(index=2), "for shard 2, expected 3"),
        (update(count=3), "counts 3 tasks, expected 2"),
        (update(total={"w": LEAVES["w"]}), "leaf 'b' is missing"),
        (update(total=LEAVES | {"x": LEAVES["b"]}), "leaf 'x' is not expected"),
        (update(total=LEAVES | {"b": np.zeros(3, np.float32)}), r"has shape (3,)"),
        (update(total=LEAVES | {"b": np.zeros(2)}), "is float64, expected float32"),
        (update(total={}), "is missing"),
        (
            update(per_task={"support_loss": np.zeros(3, np.float32)}),
            "has shape (3,), expected 2 along its first axis",
        ),
        (update(per_task={"support_loss": np.float32(1)}), "has shape ()"),
        (update(per_task={"support_loss": np.array(["a", "b"])}), "expected numbers"),
        (
            update(per_task={"support_loss": np.array([1, np.nan], np.float32)}),
            "1 values of 2 in leaf 'support_loss'",
        ),
    ],
)
def test_a_bad_update_is_refused_with_what_is_wrong(bad, reason):
    found = reject_reason(TRAIN, SCHEMA, bad)
    assert found is not None
    assert reason in found


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (3, 1)])
def test_one_number_that_is_not_finite_is_found_anywhere(value, place):
    spoiled = LEAVES["w"].copy()
    spoiled[place] = value
    found = reject_reason(TRAIN, SCHEMA, update(total=LEAVES | {"w": spoiled}))
    assert found is not None
    assert "1 values of 8 in leaf 'w'" in found


def test_large_finite_numbers_pass_although_their_squares_overflow():
    large = np.full((4, 2), 3e38, dtype=np.float32)
    assert reject_reason(TRAIN, SCHEMA, update(total=LEAVES | {"w": large})) is None


def test_a_validation_shard_must_bring_no_sum():
    found = reject_reason(VALIDATE, SCHEMA, update())
    assert found is not None
    assert "is not expected" in found

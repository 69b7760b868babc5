"""What the gate lets through, and what it says of the rest."""

import numpy as np
import pytest

from mlpeft.cluster.validation import reject_reason
from mlpeft.params import schema
from mlpeft.transport.rpc.tensors import BFLOAT16
from mlpeft.work import Kind, ResultSchema, Shard, ShardUpdate, TaskSpec

TASKS = (TaskSpec("a", 1), TaskSpec("b", 2))
TRAIN = Shard(0, 3, Kind.TRAIN, TASKS)
VALIDATE = Shard(0, 3, Kind.VALIDATE, TASKS)
LEAVES = {
    "w": np.ones((4, 2), dtype=np.float32),
    "b": np.zeros(2, dtype=np.float32),
}
SCHEMA = schema(LEAVES)
LOSS = {"support_loss": np.array([1.0, 2.0], dtype=np.float32)}
RESULTS = ResultSchema()
SCORED = ResultSchema(eval_steps=3, share="acc")
SCORES = {
    "loss": np.zeros((2, 3), dtype=np.float32),
    "acc": np.full((2, 3), 0.5, dtype=np.float32),
}


def update(index=3, count=2, total=LEAVES, per_task=LOSS):
    return ShardUpdate(index, count, dict(total), dict(per_task))


def test_a_good_update_passes():
    assert reject_reason(TRAIN, SCHEMA, RESULTS, update()) is None
    scored = update(total={}, per_task=SCORES)
    assert reject_reason(VALIDATE, SCHEMA, SCORED, scored) is None


def losses(*values, dtype=np.float32):
    return {"support_loss": np.array(values, dtype)}


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
        (update(per_task={}), "leaf 'support_loss' is missing"),
        (
            update(per_task=LOSS | {"acc": LOSS["support_loss"]}),
            "'acc' is not expected",
        ),
        (update(per_task=losses(0, 0, 0)), "has shape (3,), expected (2,)"),
        (update(per_task={"support_loss": np.float32(1)}), "has shape ()"),
        (
            update(per_task={"support_loss": np.zeros((2, 7, 3), np.float32)}),
            "has shape (2, 7, 3), expected (2,)",
        ),
        (update(per_task=losses(0, 0, dtype=np.float64)), "is float64"),
        (update(per_task=losses(0, 0, dtype=np.int64)), "is int64, expected float32"),
        (update(per_task={"support_loss": np.zeros(2, BFLOAT16)}), "expected float32"),
        (update(per_task={"support_loss": np.array(["a", "b"])}), "expected float32"),
        (update(per_task=losses(1, np.nan)), "1 values of 2 in leaf 'support_loss'"),
        (update(per_task=losses(1, 3e38)), "or not in [-0.001, 1e+30]"),
        (update(per_task=losses(1, -1)), "1 values of 2 in leaf 'support_loss'"),
        (update(total=LEAVES | {"x" * 9999: LEAVES["b"]}), "'" + "x" * 80 + "'"),
    ],
)
def test_a_bad_update_is_refused_with_what_is_wrong(bad, reason):
    found = reject_reason(TRAIN, SCHEMA, RESULTS, bad)
    assert found is not None
    assert reason in found


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ({"loss": SCORES["loss"]}, "leaf 'acc' is missing"),
        (SCORES | {"exact": SCORES["acc"]}, "leaf 'exact' is not expected"),
        (SCORES | {"support_loss": np.zeros(2, np.float32)}, "is not expected"),
        (SCORES | {"acc": SCORES["acc"][:, :2]}, "has shape (2, 2), expected (2, 3)"),
        (SCORES | {"acc": SCORES["acc"] + 99}, "6 values of 6 in leaf 'acc'"),
        (SCORES | {"acc": SCORES["acc"] - 1}, "or not in [-0.001, 1.001]"),
        (SCORES | {"loss": SCORES["loss"] - 1}, "in leaf 'loss'"),
    ],
)
def test_scores_have_the_form_that_the_run_asks_for(scores, reason):
    scored = update(total={}, per_task=scores)
    found = reject_reason(VALIDATE, SCHEMA, SCORED, scored)
    assert found is not None
    assert reason in found


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (3, 1)])
def test_one_number_that_is_not_finite_is_found_anywhere(value, place):
    spoiled = LEAVES["w"].copy()
    spoiled[place] = value
    found = reject_reason(TRAIN, SCHEMA, RESULTS, update(total=LEAVES | {"w": spoiled}))
    assert found is not None
    assert "1 values of 8 in leaf 'w'" in found


@pytest.mark.parametrize("sign", [1, -1])
def test_finite_numbers_whose_sum_would_overflow_are_refused(sign):
    """Two tasks: up to 2e15 counts, whose squares over many leaves are finite."""
    for value, counts in ((1.9e15, True), (2.1e15, False), (3e38, False)):
        large = np.full((4, 2), sign * value, dtype=np.float32)
        changed = update(total=LEAVES | {"w": large})
        found = reject_reason(TRAIN, SCHEMA, RESULTS, changed)
        assert (found is None) is counts, value


def test_a_validation_shard_must_bring_no_sum():
    found = reject_reason(VALIDATE, SCHEMA, SCORED, update())
    assert found is not None
    assert "is not expected" in found

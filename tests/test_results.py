"""Means and intervals over episodes, and their texts."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from rich.console import Console

from mlpeft.errors import DataError, ShapeError
from mlpeft.results import EvalResult


def result(acc: float | None = 0.9, loss: float = 0.3) -> EvalResult:
    return EvalResult(
        steps=(0, 5),
        loss=(1.0, loss),
        loss_ci95=(0.1, 0.02),
        episodes=50,
        acc=None if acc is None else (0.2, acc),
        acc_ci95=None if acc is None else (0.01, 0.006),
    )


def test_means_and_intervals_are_those_worked_by_hand() -> None:
    """Accuracies 0, 0.5, 1: mean 0.5, sample deviation 0.5; losses below."""
    acc = np.array([[0.0], [0.5], [1.0]])
    loss = np.array([[1.0], [2.0], [6.0]])  # deviations -2, -1, 3: variance 14 / 2
    found = EvalResult.from_per_episode([5], loss, acc)
    assert found.acc == (0.5,)
    assert found.acc_ci95 == pytest.approx((1.96 * 0.5 / math.sqrt(3),))
    assert found.loss == (3.0,)
    assert found.loss_ci95 == pytest.approx((1.96 * math.sqrt(7) / math.sqrt(3),))
    assert found.episodes == 3


def test_one_episode_has_no_interval() -> None:
    found = EvalResult.from_per_episode([1], np.array([[0.25]]))
    assert math.isnan(found.loss_ci95[0])
    assert found.headline == "loss 0.250 after 1 step"


def test_regression_has_no_accuracy() -> None:
    found = EvalResult.from_per_episode([0, 1], np.ones((4, 2)))
    assert found.acc is None
    assert found.acc_ci95 is None


@pytest.mark.parametrize("shape", [(0, 2), (3, 1), (3,)])
def test_arrays_of_another_shape_are_refused_with_both_shapes(
    shape: tuple[int, ...],
) -> None:
    with pytest.raises(ShapeError, match=r"expected \(episodes, 2\)"):
        EvalResult.from_per_episode([0, 1], np.ones(shape))


def test_accuracy_and_loss_must_be_of_the_same_episodes() -> None:
    with pytest.raises(ShapeError, match="2 episodes but loss has 3"):
        EvalResult.from_per_episode([0], np.ones((3, 1)), np.ones((2, 1)))


@pytest.mark.parametrize("acc", [0.9, None])
def test_json_gives_the_same_result_back(acc: float | None) -> None:
    original = result(acc)
    text = json.dumps(original.to_dict(), allow_nan=False)
    assert EvalResult.from_dict(json.loads(text)) == original


def test_nan_and_infinity_are_null_in_json() -> None:
    diverged = EvalResult.from_per_episode([1], np.array([[np.inf]]))
    tree = json.loads(json.dumps(diverged.to_dict(), allow_nan=False))
    assert tree["loss"] == [None]
    assert math.isnan(EvalResult.from_dict(tree).loss[0])


def test_a_dict_that_is_no_result_is_an_error_with_its_keys() -> None:
    with pytest.raises(DataError, match="got kind"):
        EvalResult.from_dict({"kind": "train"})


def test_the_headline_is_of_the_last_step() -> None:
    assert result().headline == "accuracy 90.0 ± 0.6 % after 5 steps"
    assert result(acc=None).headline == "loss 0.300 ± 0.020 after 5 steps"


def test_more_accuracy_is_better_and_so_is_less_loss() -> None:
    assert result(acc=0.9).better_than(result(acc=0.8))
    assert not result(acc=0.8).better_than(result(acc=0.8))
    assert result(acc=None, loss=0.1).better_than(result(acc=None, loss=0.2))
    assert result().better_than(None)


def test_a_result_that_is_not_a_number_is_never_the_best() -> None:
    diverged = result(acc=None, loss=math.nan)
    assert not diverged.better_than(None)
    assert not diverged.better_than(result(acc=None))
    assert result(acc=None).better_than(diverged)


def test_the_table_has_a_row_a_step() -> None:
    console = Console(width=80)
    with console.capture() as captured:
        console.print(result().table("Test"))
    text = captured.get()
    assert "90.0 ± 0.6 %" in text
    assert "50 episodes" in text
    with console.capture() as captured:
        console.print(result(acc=None).table())
    assert "accuracy" not in captured.get()


def test_sequences_are_judged_by_their_loss_and_show_exact_match() -> None:
    loss, exact = np.array([[2.0], [4.0]]), np.array([[0.0], [1.0]])
    result = EvalResult.from_per_episode([1], loss, exact=exact)
    assert result.acc is None
    assert result.exact == (0.5,)
    assert result.headline.startswith("loss 3.000")
    better = EvalResult.from_per_episode([1], loss - 1, exact=0 * exact)
    assert better.better_than(result)
    assert EvalResult.from_dict(result.to_dict()) == result
    columns = [column.header for column in result.table().columns]
    assert columns == ["inner steps", "loss", "exact match"]


def test_a_result_ends_at_its_best_number_of_steps():
    result = EvalResult((0, 1, 5), (3.0, 1.0, 2.0), (0.1, 0.1, 0.1), 4)
    assert result.until_best().steps == (0, 1)
    right = EvalResult(
        (0, 1, 5), (3.0, 1.0, 2.0), (0.1,) * 3, 4, (0.5, 0.6, 0.9), (0.1,) * 3
    )
    assert right.until_best() == right
    lost = EvalResult((0, 1), (math.nan, 2.0), (math.nan, 0.1), 4)
    assert lost.until_best().steps == (0, 1)

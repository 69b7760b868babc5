"""Two runs compared episode by episode."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlpeft.errors import DataError
from mlpeft.evaluation.pairs import pair


def evaluated(folder: Path, name: str, test: str = "a", **scores: object) -> Path:
    run = folder / name
    run.mkdir()
    record = {"per_episode": {"test": test, **scores}}
    (run / "evaluation.json").write_text(json.dumps(record), encoding="utf-8")
    return run


def test_differences_are_taken_episode_by_episode(tmp_path):
    """Gains of 0.1, 0.1 and 0.1 have no spread, whatever the episodes are like."""
    first = evaluated(tmp_path, "one", acc=[[0, 0.2], [0, 0.6], [0, 1.0]])
    second = evaluated(tmp_path, "two", acc=[[0, 0.1], [0, 0.5], [0, 0.9]])
    paired = pair(first, second / "evaluation.json")
    assert (paired.score, paired.episodes) == ("accuracy", 3)
    assert paired.gain == pytest.approx(0.1)
    assert paired.gain_ci95 == pytest.approx(0.0, abs=1e-9)


def test_a_loss_that_is_lower_is_a_gain(tmp_path):
    first = evaluated(tmp_path, "one", loss=[[1.0], [2.0]])
    second = evaluated(tmp_path, "two", loss=[[2.0], [4.0]])
    assert pair(first, second).gain == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        ({"test": "b", "acc": [[1.0]]}, "other test episodes"),
        ({"loss": [[]]}, "damaged"),
        ({"acc": "many"}, "damaged"),
    ],
)
def test_what_cannot_be_paired_is_told(tmp_path, scores, told):
    first = evaluated(tmp_path, "one", acc=[[1.0]], loss=[[1.0]])
    with pytest.raises(DataError, match=told):
        pair(first, evaluated(tmp_path, "two", **scores))


def test_a_run_that_is_not_evaluated_is_told_with_the_command(tmp_path):
    with pytest.raises(DataError, match="mlpeft evaluate --checkpoint"):
        pair(tmp_path, tmp_path)
    (tmp_path / "evaluation.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="no scores of single episodes"):
        pair(tmp_path, tmp_path)

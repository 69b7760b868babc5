"""Sweeps train every setting with every seed, keep what is done, and compare it."""

import csv
import io

import pytest
import yaml

from mlpeft.errors import ConfigError
from mlpeft.evaluation.search import Range, Study
from mlpeft.evaluation.sweep import (
    Setting,
    Sweep,
    best,
    check_settings,
    grid,
    split_values,
)
from mlpeft.evaluation.sweep_tables import csv_text, latex_text, score_cells, table
from mlpeft.evaluation.trials import StoppedError, keep_answer
from mlpeft.reporting import JsonlReporter

LR = "meta_learning.inner_lr"
STEPS = "meta_learning.num_inner_steps"


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    file = tmp_path_factory.mktemp("config") / "points.yaml"
    tree = {
        "meta_learning": {"num_meta_iterations": 3, "eval_interval": 3},
        "model": {"hidden_dim": 4},
        "evaluation": {"num_val_episodes": 4, "num_test_episodes": 4},
    }
    file.write_text(yaml.safe_dump(tree))
    return file


@pytest.fixture(scope="module")
def plan(config, tmp_path_factory):
    return Sweep(config, tmp_path_factory.mktemp("sweep"), num_seeds=2)


@pytest.fixture(scope="module")
def outcomes(plan):
    """Two sound step sizes, and one with which the loss overflows."""
    settings = grid({LR: ["0.01", "0.1", "1e30"]})
    done = [plan.run(setting, lambda _: JsonlReporter()) for setting in settings]
    return [plan.test(done[0]), *done[1:]]


def test_a_grid_is_every_combination_in_order():
    settings = grid({LR: ["0.1", "0.2"], STEPS: ["1", "5"]})
    assert [setting.label for setting in settings] == [
        "inner_lr=0.1 num_inner_steps=1",
        "inner_lr=0.1 num_inner_steps=5",
        "inner_lr=0.2 num_inner_steps=1",
        "inner_lr=0.2 num_inner_steps=5",
    ]


def test_commas_in_brackets_do_not_split_a_value():
    assert split_values("[1, 5],[10],null") == ["[1, 5]", "[10]", "null"]


def test_each_seed_has_a_run_of_its_own(plan, outcomes):
    seeds = [training.seed for training in outcomes[0].trainings]
    assert seeds == [0, 1]
    folders = {it.run_dir for outcome in outcomes for it in outcome.trainings}
    assert len(folders) == 6
    first, second = outcomes[0].trainings
    assert first.validation != second.validation


def test_what_is_done_is_not_done_again(plan, outcomes, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError

    monkeypatch.setattr("mlpeft.evaluation.trials.train", refuse)
    again = plan.run(outcomes[0].setting, lambda _: JsonlReporter())
    assert again.trainings == outcomes[0].trainings


def test_a_training_that_was_stopped_goes_on(plan):
    setting = Setting(((STEPS, "2"),))
    with pytest.raises(StoppedError, match="after meta-iteration 0"):
        plan.run(setting, lambda _: JsonlReporter(), lambda: True)
    outcome = plan.run(setting, lambda _: JsonlReporter())
    assert [training.iterations for training in outcome.trainings] == [3, 3]


def test_a_training_that_diverges_is_a_result_and_never_the_best(outcomes):
    failed = outcomes[2]
    assert "is not finite" in failed.trainings[0].failure
    winner = best(outcomes)
    assert winner is not None
    assert winner.score == max(it.score for it in outcomes[:2])
    assert best([failed]) is None


def test_the_csv_has_a_line_per_training(outcomes):
    rows = list(csv.DictReader(io.StringIO(csv_text(outcomes))))
    assert [row["seed"] for row in rows] == ["0", "1"] * 3
    assert [bool(row["test_acc"]) for row in rows] == [True] * 2 + [False] * 4
    expected = outcomes[0].trainings[1].validation.acc[-1]
    assert float(rows[1]["validation_acc"]) == pytest.approx(expected)
    assert "finite" in rows[4]["failure"]


def test_latex_has_a_row_per_setting_and_the_chosen_one_is_bold(outcomes):
    text = latex_text(outcomes, outcomes[0])
    assert r"inner\_lr & validation & test \\" in text
    validation = score_cells(outcomes[0])[0].replace("±", r"$\pm$")
    assert rf"\textbf{{{validation.replace('%', chr(92) + '%')}}}" in text
    assert text.count(r"\\") == 4


def test_the_table_says_which_training_failed(outcomes):
    rows = list(table(outcomes, outcomes[0]).columns[-1].cells)
    assert rows == ["chosen", "", "seed 0 failed, see sweep.csv"]


def test_a_wrong_setting_is_told_before_any_training(config, tmp_path):
    plan = Sweep(config, tmp_path / "none")
    with pytest.raises(ConfigError, match="with inner_lr=-1"):
        check_settings(plan, grid({LR: ["0.1", "-1"]}))
    with pytest.raises(ConfigError, match="same name"):
        check_settings(plan, grid({"evaluation.steps": ["[1]", "[1,]"]}))
    assert not (tmp_path / "none").exists()


def test_another_question_is_answered_anew(tmp_path):
    file = tmp_path / "kept.json"
    assert keep_answer(file, {"episodes": 5}, lambda: {"acc": 1}) == {"acc": 1}
    assert keep_answer(file, {"episodes": 5}, lambda: {"acc": 2}) == {"acc": 1}
    assert keep_answer(file, {"episodes": 6}, lambda: {"acc": 2}) == {"acc": 2}
    file.write_text("{")
    assert keep_answer(file, {"episodes": 6}, lambda: {"acc": 3}) == {"acc": 3}


@pytest.mark.parametrize(
    "text", ["1", "1:", "2:1", "a:b", "0:1:log", "1:2:lin", "1:2:log:3", "nan:1"]
)
def test_a_range_that_is_none_says_what_one_is(text):
    with pytest.raises(ConfigError, match="LOW:HIGH"):
        Range.parse(text)


def test_a_search_proposes_the_same_settings_again_and_keeps_to_the_space():
    pytest.importorskip("optuna", reason="install it with: pip install optuna")
    space = {LR: Range.parse("1e-4:1:log"), STEPS: Range.parse("1:5"), "a.b": ["x"]}
    runs = []
    for _ in range(2):
        study = Study(space, 0)
        asked: list[Setting] = []
        for turn in range(4):
            asked.append(study.ask())
            study.tell(float("nan") if turn == 1 else float(turn))
        runs.append(asked)
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 4
    for setting in runs[0]:
        lr, steps, word = (value for _, value in setting.changes)
        assert 1e-4 <= float(lr) <= 1
        assert int(steps) in range(1, 6)
        assert word == "x"

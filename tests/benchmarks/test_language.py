"""The table of writing styles keeps what is done, and its intervals are over people."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mlpeft.config import RunConfig
from tests.models.pretrained import tiny_lm

language = pytest.importorskip("benchmarks.language")


def write(folder, start, rows):
    folder = folder / "scores"
    folder.mkdir(exist_ok=True, parents=True)
    lines = [
        json.dumps({"person": p, "loss": [3.0, 2.0, loss], "exact": [0, 0, exact]})
        for p, loss, exact in rows
    ]
    (folder / f"{start}.jsonl").write_text("".join(f"{line}\n" for line in lines))


def test_one_episode_of_each_person_gives_students_interval():
    """Ten people: t of nine degrees of freedom is 2.262."""
    values = np.random.default_rng(0).normal(size=10)
    expected = 2.262 * values.std(ddof=1) / np.sqrt(10)
    found = language.half_width(values, np.arange(10))
    assert found == pytest.approx(expected, rel=3e-3)


def test_more_episodes_of_the_same_people_do_not_make_it_narrower():
    values = np.random.default_rng(0).normal(size=10)
    people = np.arange(10)
    once = language.half_width(values, people)
    again = language.half_width(np.tile(values, 5), np.tile(people, 5))
    assert again == pytest.approx(once)


def test_one_person_alone_says_nothing_of_others():
    assert np.isnan(language.half_width(np.array([1.0, 2.0]), np.array(["Bo", "Bo"])))


def test_a_line_that_a_kill_cut_short_is_scored_again(tmp_path):
    write(tmp_path, "joint", [("Bo", 0.5, 1.0)])
    file = tmp_path / "scores" / "joint.jsonl"
    whole = file.read_text()
    file.write_text(whole + '{"person": "An')
    scores = language.read_scores(file)
    assert scores.people.tolist() == ["Bo"]
    assert scores.loss.tolist() == [[3.0, 2.0, 0.5]]
    assert file.read_text() == whole


def test_starts_are_compared_on_the_episodes_that_both_have(tmp_path):
    """The joint start's loss is higher by 0.2 and 0.4; the third episode is alone."""
    joint = [("Bo", 0.5, 0.0), ("Cy", 0.9, 0.5), ("Bo", 9.0, 0.0)]
    write(tmp_path / "seed0", "joint", joint)
    write(tmp_path / "seed0", "reptile", [("Bo", 0.3, 1.0), ("Cy", 0.5, 1.0)])
    write(tmp_path / "seed1", "joint", [("Bo", 7.0, 0.0)])  # not compared yet
    lines = language.table(tmp_path).splitlines()
    assert lines[0] == "2 episodes of 2 people:"
    joint = next(line for line in lines if line.startswith("| trained jointly |"))
    assert "| 0.70 ±" in joint
    assert "| 0.30 ±" in joint
    assert "| 25 ±" in joint
    assert "| -75 ±" in joint
    assert next(line for line in lines if line.startswith("| meta")).endswith("|  |  |")


def test_episodes_of_all_seeds_are_in_the_table(tmp_path):
    for seed, loss in enumerate((0.2, 0.4, 0.9)):
        write(tmp_path / f"seed{seed}", "joint", [("Bo", loss, 0.0), ("Cy", loss, 1.0)])
    lines = language.table(tmp_path).splitlines()
    assert lines[0] == "6 episodes of 2 people:"
    assert "| 0.50 ±" in lines[-1]


def recipe(folder):
    """Five people who say what they are asked and their own letter, six times."""
    pytest.importorskip("mlx_lm", reason="install it with: pip install 'mlpeft[lm]'")
    lines = [
        json.dumps({"task": who, "prompt": word, "completion": word + who})
        for who in "vwxyz"
        for word in ("abc", "bcd", "cab", "dab", "add", "bad")
    ]
    (folder / "people.jsonl").write_text("\n".join(lines))
    return RunConfig.from_dict(
        {
            "meta_learning": {
                "num_meta_iterations": 1,
                "num_inner_steps": 1,
                "meta_batch_size": 1,
            },
            "task_distribution": {
                "task_families": ["completions"],
                "k_shot": 2,
                "query_size": 2,
                "train_query_size": 0,
                "num_train_tasks": None,
                "num_val_tasks": None,
                "num_test_tasks": None,
                "task_params": {"path": str(folder / "people.jsonl")},
            },
            "model": {
                "backbone": "causal_lm",
                "weights": str(tiny_lm.write(folder / "lm")),
            },
            "peft": {"method": "lora", "rank": 2, "num_layers": 1},
            "evaluation": {"num_val_episodes": 1, "num_test_episodes": 1},
            "compute": {"strategy": "loop"},
        }
    )


def test_the_recipe_is_the_joint_training_of_the_table(tmp_path):
    recipe = RunConfig.load(language.RECIPE)
    measured = language.Laboratory(tmp_path, 1, recipe).joint_training(2e-3)
    shipped = RunConfig.load(language.RECIPE.with_name("style.yaml"))
    when = dict.fromkeys(("eval_interval", "save_interval"), 80)
    for section in ("meta_learning", "task_distribution", "model", "peft"):
        table = getattr(measured, section).model_dump()
        written = getattr(shipped, section).model_dump()
        assert table | when == written | when, section
    assert shipped.evaluation.inner_batch_size is None


def test_all_starts_are_made_and_scored_and_more_episodes_go_on(tmp_path):
    config, out = recipe(tmp_path), tmp_path / "out" / "seed0"
    for start in language.STARTS:
        language.Laboratory(out, 2, config).score(start)
    before = {file: file.read_text() for file in sorted(out.glob("scores/*"))}
    assert [text.count("\n") for text in before.values()] == [2, 2, 2]
    for start in language.STARTS:
        language.Laboratory(out, 12, config).score(start)
    people = set()
    for file, text in before.items():
        assert file.read_text().startswith(text)
        scores = language.read_scores(file)
        assert scores.loss.shape == scores.exact.shape == (12, 3)
        people.add(tuple(scores.people))
    assert len(people) == 1
    tuned = {file.stem for file in out.glob("tuned/*.json")}
    assert tuned == {"random", "joint", "joint-0.0005", "joint-0.002", "reptile"}
    starts = [
        line.split(" | ")[0] for line in language.table(out.parent).splitlines()[4:]
    ]
    assert starts == [f"| {title}" for title in language.STARTS.values()]

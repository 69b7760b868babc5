"""The table of writing styles keeps what is done, and its intervals are over people."""

from __future__ import annotations

import json

import numpy as np
import pytest

language = pytest.importorskip("benchmarks.language")


def write(folder, start, rows):
    folder = folder / "scores"
    folder.mkdir(exist_ok=True)
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
    write(tmp_path, "joint", [("Bo", 0.5, 0.0), ("Cy", 0.9, 0.5), ("Bo", 9.0, 0.0)])
    write(tmp_path, "reptile", [("Bo", 0.3, 1.0), ("Cy", 0.5, 1.0)])
    lines = language.table(tmp_path).splitlines()
    assert lines[0] == "2 episodes of 2 people:"
    joint = next(line for line in lines if line.startswith("| trained jointly |"))
    assert "| 0.70 ±" in joint
    assert "| 0.30 ±" in joint
    assert "| 25 ±" in joint
    assert "| -75 ±" in joint
    assert next(line for line in lines if line.startswith("| meta")).endswith("|  |  |")

"""The table of when meta-learning pays: equal compute, fair choices, nothing lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mlpeft import RunConfig, TaskConfig

laboratory = pytest.importorskip("benchmarks.when.laboratory")
from benchmarks.when import methods, problems, table  # noqa: E402

SMALL = replace(
    problems.PROBLEMS["sinusoids"],
    changes={"meta_learning": {"meta_batch_size": 2}, "model": {"hidden_dim": 4}},
    gradients=24,
    inner_lrs=(0.01,),
    outer_lrs=(1e-3,),
    eval_lrs=(0.01, 0.1),
    validation=2,
    test=3,
)
STARTS = ("random", "joint", "fomaml", "joint-fomaml")


def made(out, starts=STARTS):
    found = laboratory.Laboratory("sinusoids", out)
    for name in starts:
        for seed in (0, 1):
            found.row(methods.METHODS[name], seed)
    return found


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(problems.PROBLEMS, "sinusoids", SMALL)


def test_all_rows_are_made_at_equal_compute_and_nothing_is_made_twice(small, tmp_path):
    made(tmp_path)
    file = tmp_path / "sinusoids.jsonl"
    written = file.read_text()
    rows = table.read_rows(tmp_path, "sinusoids")
    assert tuple(rows) == STARTS
    assert [row.gradients for row in rows.values()][:2] == [0, 24]
    # Four inner steps and one more do not always divide what is there.
    assert all(18 <= row.gradients <= 24 for row in list(rows.values())[1:])
    assert {scores.shape for scores in rows["joint"].scores.values()} == {(3, 4)}
    made(tmp_path)
    assert file.read_text() == written
    file.write_text(written[:-9])  # as a kill leaves it
    made(tmp_path)
    assert table.markdown(tmp_path, ["sinusoids"]).count("\n| FOMAML") == 2


def test_every_choice_computes_what_it_may(tmp_path):
    for problem in problems.PROBLEMS.values():
        for method in methods.METHODS.values():
            if method.algorithm is None or not method.suits(problem):
                continue
            for choice in method.choices(problem):
                changes = method.changes(problem, choice, 100)
                config = problem.config(0, tmp_path).with_changes(**changes)
                spent = config.meta_learning.num_meta_iterations * (
                    laboratory._gradients(config)
                )
                assert 100 - choice.inner_steps <= spent + 1 <= 101


def test_who_does_better_with_fewer_steps_takes_fewer():
    tried = {0.1: np.array([1.0, 4.0, 2.0]), 0.3: np.array([1.0, 3.0, 3.5])}
    assert laboratory.best_of(tried, 0) == (1.0, 0.1, 0)
    assert laboratory.best_of(tried, 2) == (4.0, 0.1, 1)


def test_a_ridge_head_separates_what_the_embedding_separates(monkeypatch, tmp_path):
    """Two classes on two axes; one query a class is nearer to the other one's axis."""
    ridge = pytest.importorskip("benchmarks.when.ridge")
    support, labels = np.eye(2), np.array([0, 1])
    query = np.array([[2.0, 0.1], [0.6, 0.5], [0.1, 3.0], [0.4, 0.3]])
    asked = np.array([0, 0, 1, 1])
    assert ridge.accuracy(support, labels, query, asked) == 0.75


def test_the_inputs_themselves_can_have_a_ridge_head(small, tmp_path, monkeypatch):
    """As a baseline that trains nothing; only where there are classes."""
    few = {"validation": 2, "test": 3, "gradients": 24}
    digits = replace(problems.PROBLEMS["digits"], outer_lrs=(1e-3,), **few)
    monkeypatch.setitem(problems.PROBLEMS, "digits", digits)
    for name in ("inputs-ridge", "joint-ridge"):
        laboratory.Laboratory("digits", tmp_path).row(methods.METHODS[name], 0)
        laboratory.Laboratory("sinusoids", tmp_path).row(methods.METHODS[name], 0)
    rows = table.read_rows(tmp_path, "digits")
    assert [row.gradients for row in rows.values()] == [0, 24]
    assert all(0.3 < row.scores[0].mean() <= 1 for row in rows.values())
    assert table.read_rows(tmp_path, "sinusoids") == {}


def test_learned_step_sizes_are_those_of_the_test(small, tmp_path):
    made(tmp_path, ("meta_sgd",))
    records = laboratory.Records(tmp_path / "sinusoids.jsonl")
    assert records.get("test/meta_sgd/1")["gradients"] > 0


def test_prototypes_take_no_step_and_see_two_batches_at_once(monkeypatch, tmp_path):
    """A gradient of support and queries counts as two; all columns are the same."""
    few = {"validation": 2, "test": 3, "gradients": 96, "outer_lrs": (1e-3,)}
    # As in the recipe of Omniglot, whose episodes of training have no queries.
    changes = {"task_distribution": {"train_query_size": 0}}
    digits = replace(problems.PROBLEMS["digits"], changes=changes, **few)
    monkeypatch.setitem(problems.PROBLEMS, "digits", digits)
    for name in ("protonet", "meta_sgd"):
        laboratory.Laboratory("digits", tmp_path).row(methods.METHODS[name], 0)
    found = table.read_rows(tmp_path, "digits")
    (run,) = (tmp_path / "digits" / "runs").glob("protonet-*")
    settings = RunConfig.load(run / "config.yaml").meta_learning
    assert settings.num_meta_iterations * settings.meta_batch_size * 2 == 96
    assert found["protonet"].gradients == 96
    scores = found["protonet"].scores[0]
    assert (scores == scores[:, :1]).all()
    assert not methods.METHODS["protonet"].suits(problems.PROBLEMS["sinusoids"])
    assert not methods.METHODS["protonet"].suits(problems.PROBLEMS["banking77"])


def test_people_who_want_opposite_things_are_others_in_each_split(monkeypatch):
    opposites = pytest.importorskip("benchmarks.when.opposites")
    people = {
        split: {opposites.person(split, word) for word in range(300)}
        for split in ("train", "val", "test")
    }
    assert [len(them) for them in people.values()] == [84, 84, 84]
    assert not people["train"] & people["test"]
    assert not people["train"] & people["val"]
    pools = [np.full((30, 4), domain, np.float32) for domain in range(10)]
    monkeypatch.setattr(opposites, "_embeddings", lambda: dict.fromkeys(people, pools))
    config = TaskConfig("test/custom/0f", "custom", support_size=10, query_size=40)
    task = opposites.episode(config, np.random.default_rng(0))
    wanted = opposites.person("test", 15)
    for x, y in (task[:2], task[2:]):
        assert [int(domain) in wanted for domain in x[:, 0]] == y.astype(bool).tolist()
    assert [len(part) for part in task] == [10, 10, 40, 40]


def row(*scores, groups=()):
    shaped = {seed: np.array(s, float)[:, None] for seed, s in enumerate(scores)}
    return table.Row(shaped, dict(enumerate(groups)), 0, 0.0, "")


def test_differences_are_paired_and_as_wide_as_seeds_differ():
    """Both episodes gain 1 with one seed, 2 with the other: 1.5, between them 0.5."""
    gain, half = table.difference(row([1, 5], [2, 9]), row([0, 4], [0, 7]), 0)
    assert gain == 1.5
    assert half == pytest.approx(1.96 * 0.5)


def test_episodes_of_one_person_count_once():
    """Bo gains 1 in each of three episodes, An 3 in one: the mean is 2, s is sqrt 2."""
    groups = [["Bo", "Bo", "Bo", "An"]]
    gain, half = table.difference(row([1, 1, 1, 3], groups=groups), row([0] * 4), 0)
    assert gain == 2.0
    assert half == pytest.approx(1.96)

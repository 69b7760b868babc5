"""The table of few-shot intents keeps what is done and pairs what it compares."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mlpeft.config import RunConfig
from mlpeft.training.plan import test_shards as shards_of_test
from mlpeft.training.runner import ShardRunner

nearest = pytest.importorskip("benchmarks.nearest")
table = pytest.importorskip("benchmarks.intents_table")


def write(folder, name, rows):
    folder.mkdir(exist_ok=True)
    lines = [json.dumps([row]) + "\n" for row in rows]
    (folder / f"{name}.jsonl").write_text("".join(lines))


def test_a_line_that_a_kill_cut_short_is_scored_again(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text("[[0.5, 1.0]]\n[[0.25")
    np.testing.assert_array_equal(table.read_scores(file), [[0.5, 1.0]])
    assert file.read_text() == "[[0.5, 1.0]]\n"


def test_differences_are_paired_at_the_steps_that_suit_each_start(tmp_path):
    """LoRA's best is step 1 (means .65 to .6), the centroid's the only one there is."""
    frozen, adapted = tmp_path / "unadapted", tmp_path / "adapted"
    write(frozen, "centroid-banking77-banking77-01-1-plain", [[0.5], [0.7]])
    lora = [[0.5, 0.6, 0.5, 0.5], [0.7, 0.7, 0.5, 0.5]]
    write(adapted, "fomaml-banking77-banking77-01-1-plain", lora)
    made = table.Table(tmp_path)
    line = next(
        line
        for line in made.markdown().splitlines()
        if line.startswith("| LoRA, FOMAML |")
    )
    gains = np.array([0.1, 0.0])
    width = 1.96 * gains.std(ddof=1) / np.sqrt(2)
    assert f"+5.0 ± {100 * width:.1f}" in line
    assert "| 60.0 ± 19.6 | 65.0 ± 9.8 |" in line
    found = made.to_dict()["fomaml-banking77-banking77-01-1-plain"]
    assert found["episodes"] == 2
    assert found["acc"][1] == pytest.approx(0.65)


@pytest.mark.parametrize("label_names", [False, True])
def test_utterances_embedded_once_give_what_evaluation_gives(
    data_dir, minilm, label_names
):
    config = RunConfig.from_dict(
        {
            "paths": {"data_dir": str(data_dir)},
            "task_distribution": {
                "task_families": ["intents"],
                "num_classes": 3,
                "k_shot": 2,
                "query_size": 6,
                "num_test_tasks": None,
                "task_params": {"dataset": "banking77", "label_names": label_names},
            },
            "model": {"backbone": "encoder", "weights": minilm},
            "peft": {"method": "lora", "rank": 2, "num_layers": 1},
            "evaluation": {"steps": [0], "num_inner_steps": 0},
        }
    )
    runner = ShardRunner.from_config(config)
    begun = runner.initial_meta()
    rng = np.random.default_rng(0)
    meta = {
        name: leaf + rng.normal(0, 0.1, leaf.shape).astype(np.float32)
        for name, leaf in begun.items()
    }
    (shard,) = shards_of_test(config, runner.tasks, 6)
    means = nearest.Nearest(runner, meta)
    found = [means.acc(spec) for spec in shard.tasks]
    expected = runner.run(meta, shard).per_task["acc"][:, 0]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    # The model is shared with the next start, which must begin where this one did.
    for name, leaf in runner.initial_meta().items():
        np.testing.assert_array_equal(leaf, begun[name])


def test_class_splits_are_told_alone_and_together(tmp_path):
    """Differences are within a split; a start that lacks one is left out."""
    folder = tmp_path / "unadapted"
    for split, rows in {"01": [[0.5], [0.7]], "02": [[0.9], [0.9]]}.items():
        write(folder, f"centroid-banking77-banking77-{split}-1-named", rows)
        better = [[row[0] + 0.1] for row in rows]
        write(folder, f"fomaml-banking77-banking77-{split}-1-named", better)
    write(folder, "joint-banking77-banking77-02-1-named", [[1.0], [1.0]])
    alone, other, together = table.Table(tmp_path).markdown().split("\n\nTrained")
    assert "class split 01, 02:" in together
    assert "jointly" in other
    assert "jointly" not in together
    assert "| LoRA, FOMAML | 1 | 85.0 ±" in together
    assert all("+10.0 ± 0.0" in text for text in (alone, other, together))


def test_scores_of_another_head_are_another_table(tmp_path):
    name = "centroid-banking77-banking77-01-1-plain"
    write(tmp_path / "unadapted", name, [[0.5], [0.7]])
    write(tmp_path / table.unadapted("ridge"), name, [[0.9], [0.9]])
    one = table.Table(tmp_path, (table.unadapted("ridge"),)).to_dict()
    assert one[name]["acc"] == [pytest.approx(0.9)]
    assert table.Table(tmp_path).to_dict()[name]["acc"] == [pytest.approx(0.6)]


@pytest.mark.parametrize("head", ["ridge", "transductive"])
def test_a_head_answers_from_embeddings(head):
    made = object.__new__(nearest.Nearest)
    made._named, made._head = True, head
    x = np.eye(4, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]
    labels = np.array([0, 1, 2, 0, 1, 2])
    assert list(made._answers(x, labels, x[[2, 0]])) == [2, 0]

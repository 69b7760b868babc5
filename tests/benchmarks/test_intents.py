"""The table of few-shot intents keeps what is done and pairs what it compares."""

from __future__ import annotations

import json

import numpy as np
import pytest

intents = pytest.importorskip("benchmarks.intents")


def write(folder, name, rows):
    folder.mkdir(exist_ok=True)
    lines = [json.dumps([row]) + "\n" for row in rows]
    (folder / f"{name}.jsonl").write_text("".join(lines))


def test_a_line_that_a_kill_cut_short_is_scored_again(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text("[[0.5, 1.0]]\n[[0.25")
    np.testing.assert_array_equal(intents._read(file), [[0.5, 1.0]])
    assert file.read_text() == "[[0.5, 1.0]]\n"


def test_differences_are_paired_at_the_steps_that_suit_each_start(tmp_path):
    """LoRA's best is step 1 (means .65 to .6), the centroid's the only one there is."""
    frozen, adapted = tmp_path / "unadapted", tmp_path / "adapted"
    write(frozen, "centroid-banking77-banking77-1", [[0.5], [0.7]])
    lora = [[0.5, 0.6, 0.5, 0.5], [0.7, 0.7, 0.5, 0.5]]
    write(adapted, "fomaml-banking77-banking77-1", lora)
    table = intents.Table(tmp_path)
    line = next(
        line
        for line in table.markdown().splitlines()
        if line.startswith("| LoRA, FOMAML |")
    )
    gains = np.array([0.1, 0.0])
    width = 1.96 * gains.std(ddof=1) / np.sqrt(2)
    assert f"+5.0 ± {100 * width:.1f}" in line
    assert "| 60.0 ± 19.6 | 65.0 ± 9.8 |" in line
    found = table.to_dict()["fomaml-banking77-banking77-1"]
    assert found["episodes"] == 2
    assert found["acc"][1] == pytest.approx(0.65)

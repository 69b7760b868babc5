"""The invented people of the examples write as their habits say."""

import json
import runpy
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from mlpeft.config import RunConfig, parse_yaml
from mlpeft.datasets.completions import read_completions
from mlpeft.training.loop import train
from tests.models.pretrained import tiny_lm

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_file_is_what_its_script_makes(tmp_path, monkeypatch):
    script = tmp_path / "make_writing_styles.py"
    script.write_text((EXAMPLES / script.name).read_text())
    runpy.run_path(str(script), run_name="__main__")
    made = tmp_path / "writing_styles.jsonl"
    assert made.read_bytes() == (EXAMPLES / made.name).read_bytes()


def test_people_have_habits_of_their_own_and_enough_messages():
    tasks = read_completions(EXAMPLES / "writing_styles.jsonl")
    assert {split: len(names) for split, names in tasks.splits.items()} == {
        "train": 29,
        "val": 9,
        "test": 10,
    }
    for name, examples in tasks.examples.items():
        assert len({example.prompt for example in examples}) == 12, name
    habits = Counter(
        (examples[0].completion.split()[0], examples[0].completion.split()[-1])
        for examples in tasks.examples.values()
    )
    assert max(habits.values()) == 1, "two people begin and end alike"


def test_every_message_is_the_plain_one_in_the_persons_words():
    tasks = read_completions(EXAMPLES / "writing_styles.jsonl")
    for examples in tasks.examples.values():
        for example in examples:
            plain = example.prompt.removesuffix(".").lower()
            assert plain in example.completion.lower()
    assert json.loads((EXAMPLES / "writing_styles.jsonl").read_text().split("\n")[0])


def test_the_example_writes_from_three_starts(tmp_path):
    """With a model so small that only the way to its words is tested."""
    pytest.importorskip("mlx_lm", reason="install it with: pip install 'mlpeft[lm]'")
    tiny_lm.write(tmp_path / "model")
    section = {
        "run": {"name": "style"},
        "meta_learning": {"num_meta_iterations": 1, "num_inner_steps": 1},
        "task_distribution": {
            "task_params": {"path": str(EXAMPLES / "writing_styles.jsonl")}
        },
        "model": {"weights": str(tmp_path / "model")},
        "peft": {"num_layers": 1},
        "evaluation": {"num_val_episodes": 1, "num_inner_steps": 1, "steps": [0]},
        "paths": {"checkpoint_dir": str(tmp_path)},
    }
    tree = parse_yaml((EXAMPLES.parent / "configs" / "style.yaml").read_text())
    for name, keys in section.items():
        tree[name] = tree.get(name, {}) | keys
    train(RunConfig.from_dict(tree))
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "writing_style.py"), str(tmp_path / "style")],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert "whom training has not seen" in done.stdout
    for who in ("the model as it is", "a random start", "the trained start"):
        assert done.stdout.count(who) == 3

"""The invented people of the examples write as their habits say."""

import json
import runpy
from collections import Counter
from pathlib import Path

from mlpeft.datasets.completions import read_completions

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

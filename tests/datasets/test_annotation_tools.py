"""The commands of the tutorial for annotation tools make files that are read."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mlpeft.datasets.text_files import TEXT_KEYS, read_pairs

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial_intents.md"
LABEL_STUDIO = [
    {
        "data": {"text": "where is it"},
        "annotations": [{"result": [{"value": {"choices": ["delivery"]}}]}],
    },
    {"data": {"text": "not labelled yet"}, "annotations": []},
]
RASA = """\
version: "3.1"
nlu:
- intent: delivery
  examples: |
    - where is it
- synonym: parcel
  examples: |
    - package
"""


@pytest.mark.parametrize(
    ("name", "content"),
    [("export.json", json.dumps(LABEL_STUDIO)), ("nlu.yml", RASA)],
)
def test_the_tutorials_commands_convert_exports(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    commands = re.findall(
        r"^python -c '(.*)' > mine\.jsonl$", TUTORIAL.read_text(), re.MULTILINE
    )
    (command,) = (command for command in commands if f'"{name}"' in command)
    lines = subprocess.run(
        [sys.executable, "-c", command],
        cwd=tmp_path,
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (tmp_path / "mine.jsonl").write_text(lines)
    pairs = read_pairs(tmp_path / "mine.jsonl", TEXT_KEYS)
    assert pairs == [("where is it", "delivery")]

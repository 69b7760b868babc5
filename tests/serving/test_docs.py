"""The page docs/serve.md: its calls work, its answers and limits are the real ones."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from mlpeft.serving.limits import Limits
from mlpeft.serving.metrics import Metrics

PAGE = Path(__file__).resolve().parents[2] / "docs" / "serve.md"
TEXT = PAGE.read_text(encoding="utf-8")
OWN = "http://127.0.0.1:8421"


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL)


def calls():
    """The page's curl commands to a server on this machine, one for each."""
    found = []
    for block in blocks("bash"):
        if OWN in block:
            found += re.split(r"\n(?=curl )", block.replace("\\\n", " ").strip())
    return found


def shape(value):
    """The keys and types of JSON; numbers of one kind, lists by their first item."""
    if isinstance(value, dict):
        return {key: shape(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return "number" if is_number else type(value).__name__


def test_every_call_of_the_page_works_and_answers_as_it_says(served):
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    answers = []
    for command in calls():
        words = shlex.split(command.replace(OWN, served.url))
        done = subprocess.run(
            [*words, "--fail-with-body"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        answers.append(json.loads(done.stdout) if done.stdout else None)
    assert len(answers) == 6
    made, predicted = (json.loads(text) for text in blocks("json")[:2])
    for shown, real in zip((made, predicted), answers, strict=False):
        for answer in (shown, real):  # by names of labels
            for one in answer.get("predictions", [answer]):
                one.pop("held_out_accuracy", None)
        assert shape(shown) == shape(real)
    assert answers[2]["labels"] == ["chatter", "delivery", "refund"]
    assert served.json("GET", "/adapters")[1] == {"adapters": []}


def test_the_error_of_the_page_is_the_real_one(served):
    shown = json.loads(blocks("json")[2])
    assert served.json("POST", "/predict", {"texts": ["a" * 5000]}) == (422, shown)


def test_every_metric_and_default_limit_is_listed():
    metrics = Metrics(lambda: 0, lambda: 0).exposition().decode()
    names = set(re.findall(r"^# TYPE (mlpeft_\w+)", metrics, re.MULTILINE))
    names = {name for name in names if not name.endswith("_created")}
    assert names == set(re.findall(r"`(mlpeft_serve_\w+)`", TEXT))
    rows = re.findall(r"^\| `--max.*?\| ([\d, ]+) \|", TEXT, re.MULTILINE)
    defaults = [int(number) for row in rows for number in row.split(",")]
    limits = dataclasses.asdict(Limits())
    limits["body_bytes"] = 4
    limits.pop("body_s")
    assert sorted(defaults) == sorted(limits.values())

"""The blocks of docs/python.md work as pasted."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
WORDS = ("red", "blue", "green", "tall", "small", "round", "heavy", "new", "late")
LABELS = [f"{first} {second}" for first in WORDS for second in ("parcel", "invoice")]
TINY = {
    "meta_learning": {"num_meta_iterations": 2, "eval_interval": 2},
    "evaluation": {"num_val_episodes": 2, "num_test_episodes": 4},
}


def blocks() -> list[str]:
    """The Python blocks of the page."""
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def block(word: str, **changes: str) -> str:
    """The one block that has a word in it, with changes that spare time or a hub."""
    (found,) = [one for one in blocks() if word in one]
    for old, new in changes.items():
        assert old in found
        found = found.replace(old, new)
    return found


def pasted(code: str) -> dict[str, object]:
    session: dict[str, object] = {"__name__": "__main__"}
    exec(compile(code, "docs/python.md", "exec"), session)  # noqa: S102 - that is the test
    return session


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def quick(code: str) -> str:
    """Two iterations and two episodes to judge by, in place of as many as help."""
    return re.sub(r"range\((40|50|100|500)\)", "range(2)", code)


def test_every_block_has_a_test_here():
    found = [
        next(
            word
            for word in ("linear", "TextClassifier", "encoder", "language", "train(")
            if word in one
        )
        for one in blocks()
    ]
    assert found == ["linear", "TextClassifier", "encoder", "language", "train("]


def test_no_block_that_learns_from_own_data_is_longer_than_fifteen_lines():
    for word in ("load_encoder", "load_language_model"):
        assert len(block(word).strip().splitlines()) < 15
        assert "yaml" not in block(word)


def test_a_model_of_ones_own_learns(capsys):
    pasted(quick(block("linear_classification")))
    assert "final_acc" in capsys.readouterr().out


def test_labelled_texts_become_a_classifier(minilm, here, capsys):
    rows = [f"{label} number {n},{label}" for label in LABELS for n in range(3)]
    (here / "tickets.csv").write_text("\n".join(["text,label", *rows]))
    session = pasted(block("TextClassifier"))
    assert "none of these" in capsys.readouterr().out  # it asks where, not which
    assert "opening hours" in session["clf"].classes_
    assert (here / "adapters" / "tickets" / "adapter.json").is_file()


def test_an_encoder_with_lora_learns_from_own_texts(minilm, here, capsys):
    lines = [
        {"text": f"the {label} is here, number {number}", "label": label}
        for label in LABELS
        for number in range(6)
    ]
    text = "\n".join(map(json.dumps, lines))
    (here / "tickets.jsonl").write_text(text, encoding="utf-8")
    code = quick(
        block("load_encoder", **{"sentence-transformers/all-MiniLM-L6-v2": minilm})
    )
    session = pasted(code)
    assert session["learner"].iteration == 2
    assert "final_acc" in capsys.readouterr().out


def test_a_language_model_with_lora_learns_from_own_completions(smollm2, here, capsys):
    lines = [
        {"task": f"writer {n}", "prompt": f"Say {word}.", "completion": f"{word} {n}!"}
        for n in range(5)
        for word in WORDS
    ]
    text = "\n".join(map(json.dumps, lines))
    (here / "messages.jsonl").write_text(text, encoding="utf-8")
    name = {"HuggingFaceTB/SmolLM2-135M-Instruct": smollm2}
    pasted(quick(block("load_language_model", **name)).replace("range(2)", "range(1)"))
    assert "support_loss" in ast.literal_eval(
        capsys.readouterr().out.replace("nan", "None")
    )


def test_a_whole_run_is_trained_and_judged(here, capsys):
    pytest.importorskip("sklearn")
    config = yaml.safe_load((ROOT / "configs/digits.yaml").read_text(encoding="utf-8"))
    for section, keys in TINY.items():
        config[section] |= keys
    (here / "configs").mkdir()
    (here / "configs/digits.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    pasted(block("load_trained"))
    assert "%" in capsys.readouterr().out

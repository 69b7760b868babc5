"""A language model adapts to prompts and completions, and completes others."""

from __future__ import annotations

import json
from functools import partial

import pytest
from typer.testing import CliRunner

import mlpeft
from mlpeft.adapters.adapt import adapt
from mlpeft.adapters.completer import Completer
from mlpeft.cli import app
from mlpeft.errors import DataError
from tests.adapters.runs import write_run
from tests.models.pretrained import tiny_lm

pytest.importorskip("mlx_lm", reason="install it with: pip install 'mlpeft[lm]'")

EXAMPLES = [("abc", "xyz"), ("hello", "bye!")]


@pytest.fixture
def lm_run(tmp_path):
    base = tiny_lm.write(tmp_path / "lm")
    return write_run(
        tmp_path,
        base,
        model={"backbone": "causal_lm", "weights": str(base)},
        task_distribution={
            "task_families": ["completions"],
            "task_params": {"template": "{prompt}?", "path": "elsewhere.jsonl"},
        },
        peft={"method": "lora", "rank": 4, "keys": ["self_attn.*", "mlp.*"]},
        meta_learning={"inner_optimizer": "adam", "inner_lr": 0.02},
    )


def test_what_was_learned_is_said(lm_run, tmp_path):
    """Enough steps, and the examples are known by heart."""
    adapter = adapt(lm_run, EXAMPLES, tmp_path / "adapter", steps=60)
    assert isinstance(adapter, Completer)
    assert adapter.history["loss_after"] < 0.1 < adapter.history["loss_before"]
    said = [completion for _, completion in EXAMPLES]
    assert adapter.predict([prompt for prompt, _ in EXAMPLES]) == said
    assert adapter.predict(["abc"], max_tokens=2) == ["xy"]
    loaded = mlpeft.load_adapter(tmp_path / "adapter")
    assert loaded.predict(["hello"]) == ["bye!"]
    card = (tmp_path / "adapter" / "README.md").read_text()
    assert "adapted to 2 completions" in card
    assert "## Labels" not in card


def test_the_commands_take_prompts_and_completions(lm_run, tmp_path):
    support, output = tmp_path / "s.csv", tmp_path / "adapter"
    support.write_text("prompt,completion\nabc,xyz\nhello,bye!\n")
    invoke = partial(CliRunner().invoke, app)
    words = ["adapt", "--checkpoint", str(lm_run), "--support", str(support)]
    adapted = invoke([*words, "--output", str(output), "--steps", "60"])
    assert "Learned to complete from 2 examples" in adapted.output
    plain = invoke(["predict", "--adapter", str(output), "abc"])
    assert plain.output == "xyz\n"
    lines = invoke(["predict", "--adapter", str(output), "--json"], input="hello\n")
    assert json.loads(lines.output) == {"prompt": "hello", "completion": "bye!"}


def test_labelled_texts_are_nothing_to_complete(lm_run, tmp_path):
    support = tmp_path / "s.jsonl"
    support.write_text('{"text": "x", "label": "y"}')
    with pytest.raises(DataError, match="columns prompt and completion"):
        adapt(lm_run, support)


def test_no_examples_are_told(lm_run):
    with pytest.raises(DataError, match="no examples"):
        adapt(lm_run, [])

"""The model card says where an adapter comes from, and what is not known."""

from __future__ import annotations

import json

import pytest
import yaml

from mlpeft.adapters.adapt import adapt
from mlpeft.adapters.card import base_licence, model_card
from tests.adapters.runs import EXAMPLES

EVALUATION = {
    "k_shot": 1,
    "num_classes": 5,
    "steps": [0, 10],
    "episodes": 600,
    "acc": [0.5, 0.905],
    "acc_ci95": [0.01, 0.012],
}


def test_the_card_has_data_settings_results_and_labels(run_dir, tmp_path):
    (run_dir / "evaluation.json").write_text(json.dumps(EVALUATION))
    adapt(run_dir, EXAMPLES, tmp_path / "adapter")
    card = (tmp_path / "adapter" / "README.md").read_text()
    for told in (
        "| adapted to | 4 examples of 2 labels |",
        "| PEFT method | lora |",
        "| rank | 2 |",
        "reptile, 7 meta-iterations of 4 tasks",
        "4 steps of sgd with step size 0.02",
        "| 5-way 1-shot | 10 | 90.5 ± 1.2 % | 600 |",
        "| licence of the base | not stated |",
        "- delivery\n- refund",
    ):
        assert told in card


def test_where_no_step_was_taken_the_card_says_what_was_done(run_dir):
    """The start was learned with inner steps; the adaptation takes none."""
    card = model_card(adapt(run_dir, EXAMPLES, steps=0))
    assert "| adapted by | without inner steps; its head is the class means" in card
    assert "0 steps" not in card
    row = next(line for line in card.splitlines() if "loss of the examples" in line)
    assert "after" not in row


def test_results_that_are_not_there_are_not_made_up(run_dir):
    (run_dir / "evaluation_5_shot.json").write_text("{damaged")
    assert "was not evaluated" in model_card(adapt(run_dir, EXAMPLES, steps=0))


def test_the_licence_of_the_base_is_what_its_card_states(run_dir, tmp_path):
    card = tmp_path / "base" / "README.md"
    card.write_text("---\nlicense: apache-2.0\ntags: [x]\n---\n# A model\n")
    text = model_card(adapt(run_dir, EXAMPLES, steps=0))
    assert "| licence of the base | apache-2.0 |" in text
    assert yaml.safe_load(text.split("---\n")[1])["license"] == "apache-2.0"


@pytest.mark.parametrize(
    "card", ["# no front matter", "---\ntags: [x]\n---\n", "---\n: [\n---\n", "\xff"]
)
def test_a_card_that_states_no_licence_is_no_licence(tmp_path, card):
    (tmp_path / "README.md").write_bytes(card.encode("latin-1"))
    assert base_licence(str(tmp_path)) == "not stated"

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlpeft.cli import app
from mlpeft.commands.config import recipe
from mlpeft.config import RunConfig, parse_yaml
from mlpeft.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


def test_what_is_printed_is_a_configuration_file_of_all_defaults():
    printed = CliRunner().invoke(app, ["config"]).stdout
    assert parse_yaml(printed) == RunConfig().to_dict()


def test_every_key_has_its_meaning_above_it():
    lines = CliRunner().invoke(app, ["config"]).stdout.splitlines()
    keys = [n for n, line in enumerate(lines) if line.startswith("  ") and ": " in line]
    entries = [n for n in keys if "#" not in lines[n].partition(":")[0]]
    assert len(entries) == sum(map(len, RunConfig().to_dict().values()))
    assert all(lines[n - 1].lstrip().startswith("# ") for n in entries)


def test_json_has_default_and_meaning_of_every_key():
    rows = json.loads(CliRunner().invoke(app, ["config", "--json"]).stdout)
    assert rows["meta_learning.inner_lr"]["default"] == 0.01
    assert all(row["meaning"] for row in rows.values())


@pytest.mark.parametrize("name", ["digits", "digits.yaml"])
def test_a_recipe_can_be_had_without_a_checkout(name):
    result = CliRunner().invoke(app, ["config", "--example", name])
    shipped = ROOT / "configs" / "digits.yaml"
    assert result.output == shipped.read_text(encoding="utf-8")


def test_a_recipe_by_a_near_name_is_hinted_at():
    with pytest.raises(ConfigError, match="did you mean 'sinusoid'"):
        recipe("sinusoids")

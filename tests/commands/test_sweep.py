"""`mlpeft sweep` trains a grid, tells the best setting and writes the tables."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from mlpeft.cli import app

LR = "meta_learning.inner_lr"


@pytest.fixture(autouse=True)
def _no_handlers(monkeypatch):
    monkeypatch.setattr("mlpeft.reporting.setup_logger", lambda *_, **__: None)


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "points.yaml"
    tree = {
        "meta_learning": {"num_meta_iterations": 2, "eval_interval": 2},
        "model": {"hidden_dim": 4},
        "evaluation": {"num_val_episodes": 2, "num_test_episodes": 3},
    }
    file.write_text(yaml.safe_dump(tree))
    return file


def run(config, *words):
    output = config.parent / "out"
    command = ["sweep", "--config", str(config), "--output", str(output), *words]
    return CliRunner().invoke(app, command), output


def test_the_best_setting_is_tested_and_named(config):
    result, output = run(config, "--set", f"{LR}=0.01,0.1", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["best"][LR] in {"0.01", "0.1"}
    lines = (output / "sweep.csv").read_text().splitlines()
    assert len(lines) == 3
    assert "tabular" in (output / "sweep.tex").read_text()
    assert [
        (output / name / "test.json").is_file()
        for name in sorted(path.name for path in output.iterdir() if path.is_dir())
    ].count(True) == 1


def test_one_value_holds_for_all_and_a_table_is_printed(config):
    result, output = run(config, "--set", f"{LR}=0.01", "--seeds", "2", "--test", "all")
    assert result.exit_code == 0, result.output
    assert "1 setting, 2 seeds each" in result.stdout
    assert len(list(output.glob("run_seed*/test.json"))) == 2


def test_a_sweep_in_which_all_diverge_fails_and_says_where_it_is_told(config):
    result, output = run(config, "--set", f"{LR}=1e30,1e31")
    assert result.exit_code == 1
    assert "no setting was trained to its end" in result.output
    assert "is not finite" in (output / "sweep.csv").read_text()


def test_a_range_without_a_search_says_what_is_missing(config):
    result, _ = run(config, "--range", f"{LR}=0.01:0.1")
    assert result.exit_code == 2
    assert "--search" in result.output

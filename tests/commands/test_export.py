"""`mlpeft export` and `mlpeft import`, as one types them."""

from __future__ import annotations

from functools import partial

import pytest
from typer.testing import CliRunner

from mlpeft.cli import app
from mlpeft.training.trained import load_trained
from tests.adapters.runs import write_run

invoke = partial(CliRunner().invoke, app)


def test_a_start_goes_out_and_comes_back(tmp_path):
    run_dir = write_run(tmp_path)
    out = tmp_path / "out"
    words = ["export", "--checkpoint", str(run_dir), "--format", "peft"]
    told = invoke([*words, "--output", str(out)]).output
    assert "adapter_config.json, adapter_model.safetensors" in told
    change = f"paths.checkpoint_dir={tmp_path}"
    config = str(run_dir / "config.yaml")
    words = ["import", str(out), "--config", config, "--set", change]
    told = invoke([*words, "--set", "run.name=again"])
    assert told.exit_code == 0, told.output
    assert f"--config {tmp_path}/again/config.yaml --resume" in told.output
    before, after = load_trained(run_dir), load_trained(tmp_path / "again")
    assert {name: leaf.tobytes() for name, leaf in before.meta.items()} == {
        name: leaf.tobytes() for name, leaf in after.meta.items()
    }


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--format", "pickle", "--checkpoint", "x"],
            "'pickle' is not one of mlx-lm",
        ),
        (["--format", "peft"], "one of --checkpoint RUN and --adapter"),
        (
            ["--format", "peft", "--checkpoint", "x", "--adapter", "y"],
            "one of --checkpoint RUN and --adapter",
        ),
    ],
)
def test_what_cannot_be_asked_for_is_told(tmp_path, words, told):
    result = invoke(["export", *words, "--output", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert told in " ".join(result.output.replace("│", " ").split())


def test_a_folder_that_is_no_adapter_is_told(tmp_path):
    (tmp_path / "file.csv").write_text("text,label")
    for name in ("nowhere", "file.csv"):
        words = ["export", "--adapter", str(tmp_path / name), "--format", "onnx"]
        result = invoke([*words, "--output", str(tmp_path / "out")])
        assert f"no adapter in {tmp_path / name}" in str(result.exception)
        result = invoke(["predict", "--adapter", str(tmp_path / name), "a text"])
        assert f"no adapter in {tmp_path / name}" in str(result.exception)

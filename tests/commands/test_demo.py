"""What `mlpeft demo` tells when its run is done."""

import json

import typer

from mlpeft.commands import compare, demo
from mlpeft.results import EvalResult

RESULT = EvalResult((0, 5), (1.0, 0.3), (0.1, 0.02), 50, (0.2, 0.9), (0.01, 0.01))


def test_each_picture_is_named_once(tmp_path, monkeypatch, capsys):
    def trained(_config, output):
        run = output / "run"
        run.mkdir()
        record = {"kind": "validate", "iteration": 1, **RESULT.to_dict()}
        (run / "metrics.jsonl").write_text(json.dumps(record) + "\n")

    def compared(checkpoint, **_):
        run = checkpoint
        row = {start: RESULT.to_dict() for start in ("meta", "tuned", "fresh")}
        (run / "comparison.json").write_text(json.dumps({"k_shots": {"1": row}}))
        typer.echo(f"Drawn in {run / 'comparison.png'}")

    monkeypatch.setattr(demo, "_train", trained)
    monkeypatch.setattr(compare, "compare", compared)
    demo.demo(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    drawn = sorted(line.rpartition("/")[2] for line in lines if "Drawn in" in line)
    assert drawn == ["adaptation.png", "comparison.png", "learning_curve.png"]

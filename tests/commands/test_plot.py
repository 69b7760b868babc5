"""`mlpeft plot`: everything in a run's folder that can be drawn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer import BadParameter

from mlpeft.commands.plot import plot
from mlpeft.errors import DataError
from mlpeft.results import EvalResult

RESULT = EvalResult((0, 5), (1.0, 0.3), (0.1, 0.02), 50, (0.2, 0.9), (0.01, 0.01))


def write_run(run: Path) -> None:
    run.mkdir()
    record = {"kind": "validate", "iteration": 1, **RESULT.to_dict()}
    (run / "metrics.jsonl").write_text(json.dumps(record) + "\n")


def write_comparison(run: Path) -> None:
    row = {start: RESULT.to_dict() for start in ("meta", "tuned", "fresh")}
    text = json.dumps({"k_shots": {"1": row, "10": row}})
    (run / "comparison.json").write_text(text)


def pictures(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.png"))


def test_a_run_gives_its_learning_curve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    write_run(run)
    plot(run)
    assert pictures(run) == ["learning_curve.png"]
    assert str(run / "learning_curve.png") in capsys.readouterr().out


def test_evaluation_and_comparison_are_drawn_where_they_are(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_run(run)
    write_comparison(run)
    (run / "evaluation.json").write_text(json.dumps(RESULT.to_dict()))
    plot(run, tmp_path / "pictures")
    assert pictures(run) == []
    assert pictures(tmp_path / "pictures") == [
        "adaptation.png",
        "comparison.png",
        "learning_curve.png",
    ]


def test_a_folder_that_is_not_there_is_told_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "none")):
        plot(tmp_path / "none")


def test_a_folder_with_nothing_to_draw_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to draw"):
        plot(tmp_path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text('{"steps": [0')
    with pytest.raises(DataError, match=r"evaluation\.json is not JSON"):
        plot(tmp_path)


@pytest.mark.parametrize(
    "content", [b"[1", b"\x80", b"{}", b'{"k_shots": {"a": 1}}', b'{"k_shots": 3}']
)
def test_a_comparison_of_another_form_is_refused(tmp_path: Path, content) -> None:
    (tmp_path / "comparison.json").write_bytes(content)
    with pytest.raises(DataError, match="make it anew"):
        plot(tmp_path)


def test_a_map_of_the_training_tasks_is_drawn_where_it_is_asked_for(tmp_path) -> None:
    """And a method that there is not is named."""
    from mlpeft.config import RunConfig
    from mlpeft.errors import ConfigError
    from mlpeft.training.loop import train

    config = RunConfig.from_dict(
        {
            "run": {"name": "waves"},
            "meta_learning": {"num_meta_iterations": 1, "num_inner_steps": 1},
            "task_distribution": {"task_families": ["sinusoid"], "num_classes": 1},
            "model": {"hidden_dim": 4, "num_layers": 1},
            "evaluation": {"num_val_episodes": 2, "num_inner_steps": 1},
            "compute": {"strategy": "loop"},
            "paths": {"checkpoint_dir": str(tmp_path)},
        }
    )
    run = train(config).run_dir
    plot(run, tmp_path / "pictures", tasks="features")
    assert "task_map.png" in pictures(tmp_path / "pictures")
    with pytest.raises(ConfigError, match="expected one of gradient, fisher"):
        plot(run, tmp_path / "pictures", tasks="taste")


def test_pictures_are_drawn_in_each_format_and_size(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_run(run)
    plot(run, format_="pdf,svg,png", size="3.3x2.4")
    assert (run / "learning_curve.pdf").read_bytes().startswith(b"%PDF")
    assert "<svg" in (run / "learning_curve.svg").read_text()
    with pytest.importorskip("PIL.Image").open(run / "learning_curve.png") as picture:
        assert picture.size == (495, 360)  # 150 dots per inch


@pytest.mark.parametrize(
    ("options", "told"),
    [({"format_": "gif"}, "expected png, svg, pdf"), ({"size": "big"}, "3.3x2.4")],
)
def test_what_cannot_be_drawn_is_told(tmp_path: Path, options, told) -> None:
    run = tmp_path / "run"
    write_run(run)
    with pytest.raises(BadParameter, match=told):
        plot(run, **options)

"""Reports of runs: one file, every figure escaped and traceable."""

import io
import json
import re
import shutil
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from typer.testing import CliRunner

from mlpeft.cli import app
from mlpeft.config import RunConfig
from mlpeft.dashboard.run_folder import RunFolder
from mlpeft.errors import DataError, MlpeftError
from mlpeft.evaluation.evaluate import evaluate
from mlpeft.report import failures, pdf
from mlpeft.report.page import render
from mlpeft.report.scores import methods, over_seeds
from mlpeft.report.tables import as_csv, as_latex
from mlpeft.reporting import build_reporters
from mlpeft.training.loop import train
from mlpeft.training.plan import test_shards as shards_of_test
from mlpeft.training.runner import ShardRunner
from mlpeft.training.trained import load_trained

HOSTILE = "<script>alert(1)</script>"


def trained_run(folder, name="tiny", seed=0, **meta):
    config = RunConfig.from_dict(
        {
            "run": {"name": name, "seed": seed},
            "meta_learning": {
                "num_meta_iterations": 4,
                "eval_interval": 2,
                "inner_lr": 0.1,
                "num_inner_steps": 2,
            }
            | meta,
            "task_distribution": {"num_train_tasks": 4, "num_val_tasks": 2},
            "model": {"hidden_dim": 8, "num_layers": 1},
            "evaluation": {"num_val_episodes": 2, "num_inner_steps": 2},
            "paths": {"checkpoint_dir": str(folder)},
            "logging": {"log_dir": str(folder)},
        }
    )
    return train(config, reporter=build_reporters(config, console=False)).run_dir


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return trained_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def run(tiny, tmp_path):
    """A run that a test may change."""
    return shutil.copytree(tiny, tmp_path / "tiny")


def compared(run, acc, half=0.02, gain=0.1):
    def result(value):
        return {
            "steps": [0, 5],
            "episodes": 50,
            "acc": [0.3, value],
            "acc_ci95": [0.03, half],
            "loss": [1.0, 0.5],
            "loss_ci95": [0.1, 0.05],
        }

    row = {"meta": result(acc), "tuned": result(acc - gain), "fresh": result(0.4)}
    row |= {"tuned_lr": 0.1, "gain": gain, "gain_ci95": 0.01}
    row |= {"joint": result(0.6), "over_joint": acc - 0.6, "over_joint_ci95": None}
    record = {"k_per_class": True, "k_shots": {"1": row, "5": row}}
    (run / "comparison.json").write_text(json.dumps(record))
    return run


def read(*runs):
    folders = [RunFolder(run) for run in runs]
    for folder in folders:
        folder.read()
    return folders


def test_a_report_is_one_file_with_every_section_and_no_script(run):
    (folder,) = read(compared(run, 0.9))
    page = render([folder], {})
    for title in ("Results on test tasks", "Training", "How it was made"):
        assert f"<h2>{title}" in page
    assert "90.0 ± 2.0" in page
    assert "+10.0 ± 1.0" in page
    assert "gain over joint" in page
    assert "+30.0" in page
    assert "mlpeft train --config" in page
    assert not re.search(r"<script|\son\w+=|(src|href)=.?https?:", page)
    assert "default-src &#x27;none&#x27;" in page
    body = page.partition("<body>")[2].partition("</body>")[0]
    ET.fromstring(body)  # noqa: S314 - our own, and well-formed


def test_what_files_of_a_run_hold_stays_text(run):
    session = {
        "workers": {HOSTILE: {"device": HOSTILE, "shards_done": 3, "failures": 1}},
        "counted": 3,
        "refused": 0,
        "backups": 0,
        "failures": {"lost": 1, HOSTILE: 1},
        "bytes": {"up": 1, "down": 1},
    }
    (run / "cluster.json").write_text(json.dumps({"sessions": {"s": session}}))
    (run / "data.json").write_text(json.dumps({"sha256": {HOSTILE: HOSTILE}}))
    record = {
        "episodes": 1,
        "classes": [{"name": HOSTILE, "accuracy": 0.5, "queries": 2}],
        "pairs": [[HOSTILE, HOSTILE, 1, 2], [HOSTILE, "b", 1, 2]],
        "tasks": [{"classes": [HOSTILE], "accuracy": 0.5}],
        "examples": [{"class": HOSTILE, "taken_for": "b", "text": HOSTILE}],
    }
    page = render(read(run), {"tiny": record})
    assert "<script" not in page
    assert "1 worker computed 3 shards" in page
    assert "1 lost" in page


def test_seeds_are_one_method_with_students_interval(run, tmp_path):
    other = trained_run(tmp_path, "again", seed=1)
    folders = read(compared(run, 0.9), compared(other, 0.8))
    (method,) = methods(folders)
    assert method.name == "2 seeds"
    score = method.score(1, "meta")
    # s = 7.071, s / sqrt(2) = 5, t = 12.706
    assert (score.mean, score.half) == pytest.approx((85.0, 63.53), abs=0.01)
    assert "over seeds" in render(folders, {})


def test_methods_are_named_by_what_differs(run, tmp_path):
    other = trained_run(tmp_path, "fomaml", algorithm="fomaml")
    folders = read(compared(run, 0.9), compared(other, 0.8))
    assert [m.name for m in methods(folders)] == [
        "algorithm=reptile",
        "algorithm=fomaml",
    ]
    head, *rows = as_csv(folders).splitlines()
    assert head.startswith("method,K,meta-learned,meta-learned ±")
    assert rows[0].startswith("algorithm=reptile,1-shot,90.0,2.0")
    assert r"algorithm=reptile & 1-shot & $90.0 \pm 2.0$" in as_latex(folders)


def test_starts_are_called_what_trained_them(run, tmp_path):
    joint = trained_run(tmp_path, "jointly", algorithm="joint")
    record = json.loads((compared(joint, 0.8) / "comparison.json").read_text())
    for row in record["k_shots"].values():
        del row["joint"], row["over_joint"], row["over_joint_ci95"]
    (joint / "comparison.json").write_text(json.dumps(record))
    page = render(read(joint), {})
    assert "the joint start ends at" in page
    assert "meta-learned" not in page
    both = as_csv(read(compared(run, 0.9), joint))
    assert both.startswith("method,K,trained,trained ±")


def test_one_seed_has_no_interval_over_seeds():
    assert np.isnan(over_seeds([1.0]).half)
    assert over_seeds([1.0, 1.0, 1.0]).half == 0.0


def test_without_scores_the_report_says_what_to_run(run):
    folders = read(run)
    assert "mlpeft compare --checkpoint" in render(folders, {})
    with pytest.raises(DataError, match="mlpeft compare"):
        as_csv(folders)


def test_a_damaged_comparison_is_named(run):
    (run / "comparison.json").write_text('{"k_shots": {"1": {"meta": {"steps": 3}}}}')
    with pytest.raises(DataError, match=r"comparison\.json is not what mlpeft writes"):
        render(read(run), {})


def test_predictions_are_those_that_evaluation_scores(tiny):
    trained = load_trained(tiny)
    runner = ShardRunner.from_config(trained.config)
    accuracies = []
    for shard in shards_of_test(runner.config, runner.tasks, 12):
        guesses = runner.predictions(trained.meta, shard)
        for spec, guess in zip(shard.tasks, guesses, strict=True):
            truth = runner.tasks.test.episode(spec.task_id, spec.seed).query_y
            accuracies.append(np.mean(guess == np.asarray(truth)))
    assert np.mean(accuracies) == pytest.approx(evaluate(trained, 12).acc[-1], abs=1e-6)


def test_failures_count_every_query_once_and_are_kept(tiny):
    trained = load_trained(tiny)
    record = failures.analyse(trained, 12)
    queries = sum(each["queries"] for each in record["classes"])
    assert sum(pair[2] for pair in record["pairs"]) == queries > 0
    worst = [each["accuracy"] for each in record["tasks"]]
    assert worst == sorted(worst)


def test_kept_failures_are_those_of_the_checkpoint(run):
    trained = load_trained(run)
    record = failures.analyse(trained, 2)
    failures.save(run, record)
    assert failures.read(run, trained, 2) == record
    assert failures.read(run, trained, 3) is None
    (run / failures.FILE).write_text("[")
    assert failures.read(run, trained, 2) is None


def test_a_picture_is_a_png():
    image = pytest.importorskip("PIL.Image")
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    with image.open(io.BytesIO(failures.png(pixels))) as picture:
        assert np.array_equal(np.asarray(picture), pixels)


def test_the_command_writes_the_file_and_says_how_to_open_it(run):
    result = CliRunner().invoke(app, ["report", str(run)])
    assert result.exit_code == 0, result.output
    assert f"Open it: file://{run}/report.html" in result.output.replace("\n", "")
    page = (run / "report.html").read_text()
    assert "Where it fails" in page
    assert "mlpeft</dt>" in page
    assert (run / "failures.json").is_file()


def test_a_folder_that_is_no_run_is_an_error(tmp_path):
    result = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert isinstance(result.exception, DataError)
    assert "nothing to report" in str(result.exception)


def test_without_a_browser_pdf_says_what_to_do(monkeypatch):
    monkeypatch.setattr(pdf, "NAMES", ())
    monkeypatch.setattr(pdf, "MAC", ())
    with pytest.raises(MlpeftError, match="print it to PDF there"):
        pdf.browser()


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_a_browser_prints_the_report(tmp_path):
    (tmp_path / "page.html").write_text("<p>hello")
    pdf.print_pdf(tmp_path / "page.html", tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")

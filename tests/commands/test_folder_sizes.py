"""Commands that take a folder, of a run or of another library, whatever is in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from safetensors.numpy import load_file, save_file

from mlpeft.exchange.export import export_adapter
from tests.commands.test_input_sizes import mlpeft
from tests.exchange.test_export import adapted, language_start
from tests.report.test_report import trained_run

SETTINGS = "adapter_config.json"
WEIGHTS = {"peft": "adapter_model.safetensors", "mlx-lm": "adapters.safetensors"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> dict[str, tuple[Path, Path]]:
    """By format, a folder of another library and the run that its base is of."""
    found = {}
    for name, made in (("peft", adapted), ("mlx-lm", language_start)):
        folder = tmp_path_factory.mktemp(name)
        export_adapter(made(folder), name, folder / "out")
        found[name] = (folder / "out", folder / "run" / "config.yaml")
    return found


@pytest.fixture(params=WEIGHTS)
def other(request, exported, tmp_path, monkeypatch) -> tuple[Path, Path, Path]:
    """A folder that a test may change, its weights, and the configuration of a run."""
    monkeypatch.chdir(tmp_path)
    source, config = exported[request.param]
    folder = shutil.copytree(source, tmp_path / "other")
    return folder, folder / WEIGHTS[request.param], config


def import_(folder: Path, config: Path) -> tuple[int, str]:
    words = ("--config", config, "--set", "run.name=imported")
    return mlpeft("import", folder, *words)


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_an_adapter_of_any_number_of_layers_is_imported(other, count):
    folder, file, config = other
    arrays = load_file(file)
    layers = sorted({name.partition(".lora_")[0] for name in arrays})[:count]
    save_file({n: a for n, a in arrays.items() if n.startswith(tuple(layers))}, file)
    code, said = import_(folder, config)
    if not count:
        assert code != 0
        assert f"{file} holds no arrays" in said
        assert not Path("checkpoints").exists()
        return
    assert code == 0, said
    kept = yaml.safe_load(Path("checkpoints/imported/config.yaml").read_text())
    assert len(kept["peft"]["keys"]) == count
    code, said = mlpeft(
        "export",
        "--adapter",
        "checkpoints/imported",
        *("--format", "merged", "--output", "merged"),
    )
    assert code == 0, said


@pytest.mark.parametrize("kept", [None, 0, 7, 200, -40])
def test_damaged_weights_of_another_library_are_told(other, kept):
    """Gone, empty, and cut off in the length, in the header and in the arrays."""
    folder, file, config = other
    content = file.read_bytes()
    file.unlink()
    if kept is not None:
        file.write_bytes(content[:kept])
    code, said = import_(folder, config)
    assert code != 0
    assert file.name in said
    assert not Path("checkpoints").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"r": "a", "lora_parameters": {"rank": "a", "scale": 1}},
        {"r": 0, "lora_parameters": {"rank": 0, "scale": 1}},
        {"lora_alpha": {}, "lora_parameters": {"rank": 2, "scale": {}}},
        {"peft_type": ["LORA"]},
        {"peft_type": 5, "lora_parameters": None},
        {"use_dora": True, "lora_parameters": []},
        {"rank_pattern": [1], "lora_parameters": {}},
    ],
)
def test_settings_of_another_library_that_make_no_sense_are_told(other, changes):
    folder, _, config = other
    file = folder / SETTINGS
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    code, said = import_(folder, config)
    assert code != 0
    assert "adapter" in said
    assert "object" not in said  # Python's own words
    assert not Path("checkpoints").exists()


def test_an_empty_folder_is_no_adapter(exported, tmp_path):
    code, said = import_(tmp_path, exported["peft"][1])
    assert code != 0
    assert f"no {SETTINGS} in {tmp_path}" in said


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[int, Path]:
    """Trained for so many iterations; the longest one is evaluated and compared."""
    folder = tmp_path_factory.mktemp("runs")
    made = {
        count: trained_run(folder, f"run{count}", num_meta_iterations=count)
        for count in (1, 2, 4)
    }
    words = ("--checkpoint", made[4], "--episodes", 1)
    assert mlpeft("evaluate", *words)[0] == 0
    assert mlpeft("compare", *words, "--k-shots", "1", "--no-joint")[0] == 0
    return made


@pytest.mark.parametrize("counts", [(1,), (2,), (4,), (1, 2, 4)])
def test_runs_of_any_length_and_number_are_drawn_and_reported(tmp_path, runs, counts):
    folders = [runs[count] for count in counts]
    page = tmp_path / "report.html"
    code, said = mlpeft("report", *folders, "-o", page, "--no-failures")
    assert code == 0, said
    assert all(folder.name in page.read_text() for folder in folders)
    for kind in ("--csv", "--latex"):
        code, said = mlpeft("report", *folders, kind)
        assert (code == 0) == (4 in counts), said
        assert code == 0 or "mlpeft compare" in said
    for folder in folders:
        code, said = mlpeft("plot", folder, "-o", tmp_path)
        assert code == 0, said


def test_a_folder_without_a_run_is_neither_drawn_nor_reported(tmp_path):
    for words in (("plot", tmp_path), ("report", tmp_path)):
        code, said = mlpeft(*words)
        assert code != 0
        assert "is it the folder of a run?" in said


EMPTY = {"steps": [], "loss": [], "loss_ci95": [], "episodes": 1, "k_shot": 1}
RESULT = EMPTY | {"steps": [0], "loss": [1.0], "loss_ci95": [None]}
NO_RESULTS = [
    *("", "[]", "{}", '{"k_shots": {}}', '{"k_shots": {"1": {"meta": {}}}}'),
    *map(json.dumps, (EMPTY, RESULT | {"loss": ["x"]}, RESULT | {"loss": [1.0, 2.0]})),
    *(json.dumps(RESULT | keys) for keys in ({"steps": 5}, {"steps": [None]})),
    *(json.dumps(RESULT | {"episodes": count}) for count in ("x", None)),
    json.dumps({"k_shots": {"1": {"meta": EMPTY, "fresh": EMPTY, "tuned": EMPTY}}}),
]


@pytest.mark.parametrize("content", NO_RESULTS)
@pytest.mark.parametrize("name", ["evaluation.json", "comparison.json"])
def test_results_that_are_none_are_named(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    code, said = mlpeft("plot", tmp_path)
    assert code != 0
    assert name in said


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "train"},
        {"kind": "train", "iteration": "x", "query_loss": 1},
        {"kind": "train", "iteration": 1, "query_loss": "x"},
        {"kind": "validate", **RESULT},
        {"kind": "validate", "iteration": 1, **EMPTY},
        {"kind": "validate", "iteration": 1, **RESULT, "loss": [10**400]},
    ],
)
def test_metrics_that_training_does_not_write_are_named(tmp_path, record):
    (tmp_path / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    code, said = mlpeft("plot", tmp_path)
    assert code != 0
    assert "metrics.jsonl is not what `mlpeft train` writes" in said


@pytest.mark.parametrize("values", ["0.1", "0.1,0.1", "0.1,0.2,0.3"])
def test_a_sweep_of_any_number_of_settings_is_trained(tmp_path, runs, values):
    words = ("--config", runs[1] / "config.yaml", "--output", tmp_path / "out")
    code, said = mlpeft("sweep", *words, f"--set=meta_learning.inner_lr={values}")
    assert code == 0, said
    table = (tmp_path / "out" / "sweep.csv").read_text().splitlines()
    assert len(table) == 1 + len(set(values.split(",")))


@pytest.mark.parametrize("value", ["", ",", "0.1,", "0.1,b", "0.1,-1", "0.1,1e999"])
def test_a_value_that_no_training_can_take_is_told_before_any(tmp_path, runs, value):
    words = ("--config", runs[1] / "config.yaml", "--output", tmp_path / "out")
    code, said = mlpeft("sweep", *words, f"--set=meta_learning.inner_lr={value}")
    assert code != 0
    assert "meta_learning.inner_lr" in said
    assert "with :" not in said
    assert not (tmp_path / "out").exists()

"""Every command of every docs page and recipe runs, or says why not here.

The commands run in the order of the pages, in one folder and one process, with fewer
and smaller steps and with tiny models: what is tested is that they are right. A command
that a page gains must be made to run, or be listed with its reason.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from itertools import product
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlpeft.cli import app
from tests.adapters.runs import write_base
from tests.models.pretrained import tiny_lm

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *sorted((ROOT / "configs").glob("*.yaml")),
    ROOT / "docs" / "tutorial_intents.md",
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
"""First those whose runs the others take."""
ELSEWHERE = {
    r"make .*": "make's targets are the checks, tests and benchmarks themselves",
    r"source .*": "activates an environment in the reader's shell",
    r"python -m tools\.language_models.*": (
        "minutes; tests/tools/test_language_models.py"
    ),
    r"mlpeft sweep .*--search .*": "needs Optuna; tests/evaluation/test_sweep.py",
    r"mlpeft queue add .*--search .*": "needs Optuna; tests/queue/test_searching.py",
    r"mlpeft evaluate --checkpoint checkpoints/reptile_omniglot_5way.*": (
        "of a run of hours; other runs are evaluated"
    ),
    r"(pip|cd) .*": "installs packages or changes folders",
    r"(systemctl|loginctl) .*": "changes the services of the reader's system",
    r"mlpeft demo": "half a minute; tests/commands/test_demo.py",
    r"python -m benchmarks.*": "hours; tests/benchmarks has the parts",
    r"python examples/.*": "tests/examples runs them",
    r"PYTHONPATH=examples .*": "tests/examples/test_own_model.py",
    r"mlpeft data fetch .*": "downloads; tests/datasets/test_download.py",
    r"mlpeft(-coordinator| chaos| status| pause| resume| stop| drain| release).*": (
        "needs a running cluster; tests/coordinator, tests/runtime, "
        "tests/commands/test_chaos.py, tests/commands/test_steer.py"
    ),
    r"mlpeft queue run.*": "needs workers; tests/coordinator/test_queue.py",
    r"mlpeft report queue.*": "needs runs that are done; tests/queue/test_store.py",
    r"mlpeft dashboard .*": "serves until it is stopped; tests/dashboard",
    r"mlpeft serve.*": "serves until it is stopped; tests/serving",
    r"mlpeft train .*--engine .*": "starts a cluster; tests/runtime/engines",
    r"dask (scheduler|worker) .*": (
        "serve until they are stopped; tests/runtime/engines/test_dask_tls.py"
    ),
    r"mlpeft-worker.*": "needs a coordinator or macOS; tests/coordinator, tests/worker",
    r"mlpeft doctor --coordinator .*": (
        "needs another machine; tests/commands/test_reach.py"
    ),
    r"mlpeft logs.* --follow": "never ends; tests/commands/test_logs.py",
    r"mlpeft logs digits --level .*": "of a cluster; tests/commands/test_logs.py",
    r"(grpcurl|curl|mlx_lm\.generate) .*": (
        "a program of others; those of a server: tests/serving/test_docs.py"
    ),
    r"mlpeft .*hf:OWNER/NAME.*": "needs the hub; tests/datasets/test_hub_texts.py",
}
"""Commands that do not run here, and why."""
TEST = r"(?:tests/[\w/]+|\btest_\w+)(?:\.py)?"
"""A file or folder of tests in a reason, from the top of the repository."""
TINY = """
meta_learning.num_meta_iterations=2 meta_learning.eval_interval=2
meta_learning.meta_batch_size=1 meta_learning.num_inner_steps={steps}
evaluation.num_val_episodes=1 evaluation.num_test_episodes=2
evaluation.num_inner_steps=1 evaluation.steps=[0,1] compute.strategy=loop
"""
LESS = {
    "default": "",
    "digits": "",
    "images": "model.hidden_dim=4 model.transductive=true",
    "intents": "model.weights={encoder} task_distribution.input_dim=8",
    "maml": "model.hidden_dim=4",
    "protonet": "model.hidden_dim=4",
    "intents_reptile": "model.weights={encoder} task_distribution.input_dim=8",
    "omniglot": "model.hidden_dim=4 meta_learning.inner_state=reset",
    "quickstart": "",
    "sinusoid": "",
    "style": "model.weights={language} peft.num_layers=1",
    "style_reptile": "model.weights={language} peft.num_layers=1",
}
"""What makes a recipe fast, besides `TINY`."""
PLACES = {
    "steps/00020000": "steps/00000002",
    "steps/00000600": "steps/00000002",
    "--episodes 600": "--episodes 2",
    "--episodes 200": "--episodes 2",
    "--episodes 10": "--episodes 2",
    "--seeds 3": "--seeds 2",
    "lr=0.03,0.1,0.3": "lr=0.03,0.1",
    "checkpoints/RUN": "checkpoints/style",
    "--start intents": "--start none",  # the desk's base is another one
    "checkpoints/a checkpoints/b": "checkpoints/digits checkpoints/quickstart",
}

TWICE = {
    "train --config configs/omniglot": "checkpoints/omniglot",
    "export": "mlx-adapter",
}
"""Commands of several pages, and the folder that must not be there before."""


def commands() -> list[tuple[str, str]]:
    """(page, command) in order, once each."""
    found: dict[str, str] = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if page.suffix == ".md":
            blocks = re.findall(
                r"```(?:bash|sh|shell|console)\n(.*?)```", text, re.DOTALL
            )
        else:
            lines = re.findall(r"^#   (\S.*(?:\n#     \S.*)*)", text, re.MULTILINE)
            blocks = [re.sub(r"\n#", "\n", line) for line in lines]
        for block in blocks:
            for line in re.sub(r"\\\n\s*", " ", block).splitlines():
                command = re.sub(r"(^|\s+)#.*$", "", line).strip()
                if command:
                    found.setdefault(command, page.name)
    return [(page, command) for command, page in found.items()]


def reason(command: str) -> str | None:
    """Why a command does not run here; None: it does."""
    reasons = (why for rule, why in ELSEWHERE.items() if re.fullmatch(rule, command))
    return next(reasons, None)


@cache
def runnable() -> list[tuple[str, str]]:
    return [(page, command) for page, command in commands() if reason(command) is None]


@pytest.fixture
def desk(tmp_path, monkeypatch, data_dir) -> Path:
    """A folder with what the pages tell the reader to have."""
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    pytest.importorskip("mlx_lm")
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLPEFT_DATA_DIR", str(data_dir))
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setattr("mlpeft.evaluation.evaluate.LR_FACTORS", (1.0, 3.0))
    for folder in ("configs", "examples"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    write_photos(tmp_path / "photos")
    write_base(tmp_path / "encoder")
    tiny_lm.write(tmp_path / "language")
    shutil.copy("configs/intents.yaml", "my.yaml")
    own = [
        {"text": f"text {number} about label {label}", "label": f"label {label}"}
        for label in range(25)
        for number in range(12)
    ]
    write_lines("my.jsonl", own)
    write_lines("examples.jsonl", own[:30])
    rows = [f"{one['text']},{one['label']}" for one in own[:30]]
    Path("texts.txt").write_text("where is it\nmy money back\n", encoding="utf-8")
    Path("test.csv").write_text("\n".join(["text,label", *rows, "my parcel,other"]))
    said = [
        {"task": f"person {n}", "prompt": f"say {word}", "completion": f"{word}!"}
        for n in range(9)
        for word in (
            "ab",
            "cab",
            "bad",
            "fad",
            "jab",
            "tab",
            "dab",
            "gab",
            "nab",
            "lab",
        )
    ]
    write_lines("mine.jsonl", said)
    write_lines("my_messages.jsonl", said[:4])
    choice = {"value": {"choices": ["refund"]}}
    task = {"data": {"text": "money back"}, "annotations": [{"result": [choice]}]}
    Path("tools").mkdir()
    Path("tools/export.json").write_text(json.dumps([task]), encoding="utf-8")
    nlu = 'nlu: [{intent: hi, examples: "- hello\\n- good day"}]'
    Path("tools/nlu.yml").write_text(nlu, encoding="utf-8")
    return tmp_path


def write_photos(folder: Path) -> None:
    """Images of as many classes as five-way episodes of three splits need."""
    image = pytest.importorskip("PIL.Image")
    for label, number in product(range(25), range(12)):
        file = folder / f"kind {label}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        image.new("L", (28, 28), 9 * label + number).save(file)


def write_lines(name: str, records: list[dict[str, str]]) -> None:
    text = "".join(json.dumps(record) + "\n" for record in records)
    Path(name).write_text(text, encoding="utf-8")


def smaller(command: str, desk: Path) -> list[str]:
    """The words of a command, with what makes it fast."""
    for old, new in PLACES.items():
        command = command.replace(old, new)
    words = shlex.split(command)[1:]
    named = re.search(r"(?:configs/)?(\w+)\.yaml", command)
    if words[0] in {"train", "validate", "import", "sweep"} and named:
        recipe = named[1].replace("my", "intents")
        steps = 0 if recipe == "intents" else 1
        changes = (TINY + LESS[recipe]).format(
            steps=steps, encoder=desk / "encoder", language=desk / "language"
        )
        for change in changes.split():
            # To a sweep commas are several values, and it varies keys of its own.
            if words[0] != "sweep" or not ("," in change or change[:-2] in command):
                words += ["--set", change]
    if words[0] in {"evaluate", "compare"} and "--episodes" not in words:
        words += ["--episodes", "2"]
    if "--start" in words:
        words += ["--base", str(desk / "encoder")]
    if words[0] == "compare" and "--k-shots" not in words:
        words += ["--k-shots", "1"]
    return words


def test_every_command_is_known():
    """One that a page gains is run below, or listed with its reason."""
    unknown = [
        f"{page}: {command}"
        for page, command in runnable()
        if command.split()[0] not in {"mlpeft", "python"}
    ]
    assert unknown == []
    assert len(runnable()) > 40
    unused = [
        rule
        for rule in ELSEWHERE
        if not any(re.fullmatch(rule, command) for _, command in commands())
    ]
    assert unused == []


def test_the_reasons_name_files_that_exist():
    named = [name for why in ELSEWHERE.values() for name in re.findall(TEST, why)]
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.timeout(300)
def test_every_command_of_every_page_runs(desk):
    failures = []
    for page, command in runnable():
        if command.startswith("python"):
            shell = ["/bin/sh", "-c", command.replace("python", sys.executable, 1)]
            done = subprocess.run(
                shell,
                cwd=desk / "tools",
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                check=False,
            )
            code, said = done.returncode, done.stderr.decode()
        else:
            for words, made in TWICE.items():
                if words in command:
                    shutil.rmtree(desk / made, ignore_errors=True)
            typed, _, file = command.partition(" > ")
            result = CliRunner().invoke(app, smaller(typed, desk))
            if file:
                Path(file).write_text(result.stdout, encoding="utf-8")
            code, said = result.exit_code, f"{result.output}{result.exception}"
        if code:
            failures.append(f"{page}: {command}\n    {said[-300:]}")
    assert not failures, "\n".join(failures)

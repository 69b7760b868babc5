"""What users install: a wheel that works far from the checkout, and an sdist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ("mlpeft", "mlpeft-coordinator", "mlpeft-worker")


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    """A folder with wheel and sdist, as `make dist` builds them."""
    folder = tmp_path_factory.mktemp("dist")
    makefile = (ROOT / "Makefile").read_text()
    (build,) = re.findall(
        r"^dist:.*\n\t@\$\(BIN\)/python (.*) -d dist$", makefile, re.MULTILINE
    )
    command = [sys.executable, *build.split(), "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def installed(dist, tmp_path_factory) -> Path:
    """A folder with what pip makes of the wheel alone."""
    folder = tmp_path_factory.mktemp("installed")
    (wheel,) = dist.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    done = subprocess.run(
        [*pip, "--no-compile", "--target", str(folder), str(wheel)],
        check=False,
        capture_output=True,
        text=True,
    )
    if "No module named pip" in done.stderr:
        pytest.skip("needs pip: python -m ensurepip")
    assert done.returncode == 0, done.stderr
    return folder


def tracked(*folders: str) -> set[str]:
    """Files of the repository, as git lists them."""
    command = ["git", "ls-files", "--", *folders]
    done = subprocess.run(
        command, cwd=ROOT, check=False, capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip("needs a git checkout")
    return set(done.stdout.split("\n")) - {""}


def test_the_wheel_has_every_file_of_the_packages_and_the_recipes(dist):
    (wheel,) = dist.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    recipes = {
        f"mlpeft/recipes/{name.removeprefix('configs/')}" for name in tracked("configs")
    }
    expected = tracked("mlpeft", "coordinator", "worker") | recipes
    assert {name for name in expected if not name.endswith(".gitignore")} <= names
    kinds = {Path(name).suffix for name in expected}
    assert {".pyi", ".yaml", ".css", ".js", ".html"} <= kinds


def test_the_sdist_has_what_the_wheel_is_built_from_and_the_tests(dist):
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert (
        tracked("mlpeft", "coordinator", "worker", "configs", "tests", "docs") <= names
    )
    assert {"pyproject.toml", "README.md", "LICENSE", "Makefile"} <= names
    assert not [name for name in names if name.startswith((".venv", "build", "dist"))]


SESSION = """
import sys
import mlpeft
from mlpeft.cli import app
print(mlpeft.__file__)
for words in sys.stdin.read().splitlines():
    app(words.split(), standalone_mode=False)
"""
COMMANDS = """
train --config quickstart.yaml --set meta_learning.num_meta_iterations=4
evaluate --checkpoint checkpoints/quickstart --episodes 4
plot checkpoints/quickstart
"""


def test_the_first_commands_of_the_docs_work_far_from_the_checkout(installed, tmp_path):
    """Those of docs/start.md, of a small recipe; one by its script, others in a row."""
    pytest.importorskip("matplotlib")
    own = {name: value for name, value in os.environ.items() if "MLPEFT" not in name}
    environment = own | {"PYTHONPATH": str(installed), "MPLBACKEND": "Agg"}

    def python(*words: str, given: str = "") -> str:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env=environment,
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    script = installed / "bin" / "mlpeft"
    recipe = python(str(script), "config", "--example", "quickstart")
    (tmp_path / "quickstart.yaml").write_text(recipe, encoding="utf-8")
    said = python("-c", SESSION, given=COMMANDS.strip())
    assert said.startswith(str(installed))
    assert "Drawn in checkpoints/quickstart/learning_curve.png" in said
    for program in PROGRAMS:
        assert (installed / "bin" / program).is_file()

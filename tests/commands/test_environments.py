"""The commands in environments as containers and old terminals have them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TINY = """
meta_learning: {num_meta_iterations: 2, num_inner_steps: 1}
task_distribution: {num_train_tasks: 2, num_val_tasks: 2, num_test_tasks: 2}
model: {hidden_dim: 4}
evaluation: {num_val_episodes: 2, num_test_episodes: 2, steps: [0, 1]}
compute: {strategy: loop}
"""
ASCII = {
    "LC_ALL": "C",
    "PYTHONIOENCODING": "ascii",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
}


def mlpeft(
    *words: str, cwd: Path, before: tuple[str, ...] = (), **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, sys.executable, "-m", "mlpeft", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)} | env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with a tiny run, of a file with CR LF, a space and an umlaut."""
    folder = tmp_path_factory.mktemp("un dossier é")
    content = TINY.replace("\n", "\r\n").encode()
    (folder / "mein ü.yaml").write_bytes(content)
    done = mlpeft("train", "--config", "mein ü.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_paths_may_have_spaces_and_letters_of_any_language(trained):
    assert (trained / "checkpoints" / "mein" / "config.yaml").is_file()


def test_an_ascii_terminal_gets_what_was_scored(trained):
    done = mlpeft(
        *("evaluate", "--checkpoint", "checkpoints/mein"),
        cwd=trained,
        **ASCII,
    )
    assert done.returncode == 0, done.stderr
    assert "+/-" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_user_without_home_and_passwd_entry_can_work(trained):
    """The user is made up in a namespace, where the system lets us make one."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("makes up a user with unshare, which is not installed")
    before = (unshare, "-U", "--map-user=54321", "--map-group=54321", "env")
    before += ("-u", "HOME", "-u", "XDG_CACHE_HOME")
    if subprocess.run([*before, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody make up a user (unshare -U)")
    done = mlpeft("doctor", "--json", cwd=trained, before=before)
    assert "Traceback" not in done.stderr
    assert "disk for the cache" in done.stdout


def test_a_working_folder_that_is_gone_is_told(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    before = ("sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh")
    done = mlpeft("logs", cwd=gone, before=before)
    assert done.returncode == 2
    assert "has been removed" in done.stderr

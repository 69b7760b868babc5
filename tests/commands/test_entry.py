from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from mlpeft.commands.entry import again, run

ROOT = Path(__file__).resolve().parents[2]


def test_going_on_repeats_every_override_as_a_shell_reads_it():
    config = Path("my configs/a.yaml")
    changes = ["run.name=b", "evaluation.steps=[0, 5]"]
    line = again("mlpeft train", config, changes)
    words = ["mlpeft", "train", "--config", str(config), "--set", changes[0]]
    assert shlex.split(line) == [*words, "--set", changes[1], "--resume"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermissionError(13, "Permission denied", "/root/x"), "/root/x: permission"),
        (FileNotFoundError("no run at /x; make one"), "error: no run at /x; make one"),
        (MemoryError(), "not enough memory"),
    ],
)
def test_an_error_of_the_system_is_one_message(error, told, capsys):
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def fail() -> None:
        raise error

    def call() -> None:
        app(args=[])

    with pytest.raises(SystemExit) as end:
        run(call)
    assert end.value.code == 2
    assert told in capsys.readouterr().err


def test_a_bug_keeps_its_traceback():
    def call() -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        run(call)


@pytest.mark.parametrize("package", ["mlpeft", "coordinator", "worker"])
def test_ctrl_c_while_a_command_is_imported_is_quiet(package, tmp_path):
    """The import is held up by a stand-in for typer."""
    (tmp_path / "typer.py").write_text(
        "import time\nprint('importing', flush=True)\ntime.sleep(60)\n"
    )
    started = subprocess.Popen(
        [sys.executable, "-m", package],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with started:
        assert started.stdout.readline() == b"importing\n"
        started.send_signal(signal.SIGINT)
        assert started.wait(30) == 130
        assert started.stderr.read() == b""

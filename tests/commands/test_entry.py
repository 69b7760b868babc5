from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import typer

from mlpeft.commands.entry import again, run


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

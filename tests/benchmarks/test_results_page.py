"""docs/results.md names commands that exist, with options that they take."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer import BadParameter

from benchmarks import reproduce
from mlpeft.cli import app
from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "results.md"
GROUP = typer.main.get_command(app)


def commands() -> list[str]:
    """Those in code blocks, with continued lines joined, and those in table cells."""
    text = PAGE.read_text(encoding="utf-8")
    lines = []
    for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
        joined = block.replace("\\\n", " ")
        lines += [line.partition(" #")[0].strip() for line in joined.splitlines()]
    lines += re.findall(r"^\|.*?`((?:make|mlpeft|python) [^`]+)`", text, re.MULTILINE)
    return [line for line in lines if line]


def parse(command: str) -> None:
    words = shlex.split(command)
    match words:
        case ["make", "reproduce", *settings]:
            given = dict(setting.split("=", 1) for setting in settings)
            assert given.keys() <= {"ROW", "SEEDS", "ARGS"}
            options = shlex.split(given.get("ARGS", ""))
            row = [given["ROW"]] if "ROW" in given else []
            reproduce.parse([*row, "--seeds", given.get("SEEDS", "1"), *options])
        case ["python", "-m", "benchmarks.reproduce", *rest]:
            reproduce.parse(rest)
        case ["mlpeft", name, *rest]:
            root = GROUP.make_context("mlpeft", [name], resilient_parsing=True)
            context = GROUP.commands[name].make_context(name, rest, parent=root)
            config = context.params.get("config")
            changes = context.params.get("overrides") or ()
            if config is not None:
                RunConfig.load(ROOT / config, changes)
            else:
                RunConfig.from_dict({}, changes)
        case _:
            raise AssertionError(f"no command of ours: {command}")


def test_there_are_commands():
    assert len(commands()) > 3


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_page_parses(command):
    parse(command)


@pytest.mark.parametrize(
    "command",
    [
        "make reproduce ROW=none",
        "make reproduce ROW=reptile_sinusoid ARGS='--iters 3'",
        "mlpeft evaluate --checkpoint x --shots 3",
        "mlpeft train --config configs/omniglot.yaml --set model.hidden=3",
        "git log",
    ],
)
def test_a_wrong_one_would_be_noticed(command):
    usage = BadParameter.__mro__[1]  # the base of all errors in a command line
    wrong = (ConfigError, SystemExit, AssertionError, usage)
    with pytest.raises(wrong):
        parse(command)

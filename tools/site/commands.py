"""The reference of the command lines, from their typer applications."""

from __future__ import annotations

import inspect
import re
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = ("| | meaning | default |", "| --- | --- | --- |")
WORDS = {str: "TEXT", Path: "PATH", int: "N", float: "NUMBER"}
"""What stands for a value of a type."""


def commands(root: Path) -> str:
    """Every command of the three programs, in Markdown."""
    del root
    import coordinator.cli
    import mlpeft.cli
    import worker.cli

    programs = {
        "mlpeft": mlpeft.cli.app,
        "mlpeft-coordinator": coordinator.cli.app,
        "mlpeft-worker": worker.cli.app,
    }
    return "\n\n".join(
        f"## {name}\n\n" + "\n\n".join(_sections(typer.main.get_command(app), name))
        for name, app in programs.items()
    )


def _sections(command: Any, name: str) -> Iterator[str]:
    """A section for a command, and for each of its own commands."""
    below = getattr(command, "commands", {})
    if not below or name in {"mlpeft-coordinator", "mlpeft-worker"}:
        yield _section(command, name, heading=not below)
    for word, each in below.items():
        if not each.hidden:
            yield from _sections(each, f"{name} {word}")


def _section(command: Any, name: str, *, heading: bool) -> str:
    """What a command does, its usage and its options."""
    hints = get_type_hints(command.callback)
    values = {each.name: _value(each, hints[each.name]) for each in command.params}
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [
        each
        for each in command.params
        if each.param_type_name == "option" and not each.hidden
    ]
    required = [each for each in options if each.required]
    needed = [f"{each.opts[0]} {values[each.name]}" for each in required]
    words = [values[each.name] for each in arguments]
    usage = " ".join([name, *needed, *words, *(["[OPTIONS]"] if options else [])])
    about = re.sub(r"(?<=\S)\n(?=\S)", " ", inspect.cleandoc(command.help or ""))
    parts = [f"### `{name}`"] if heading else []
    parts += [_escaped(about), f"```text\n{usage}\n```"]
    if arguments or options:
        rows = [_row(each, values[each.name]) for each in (*arguments, *options)]
        parts.append("\n".join([*HEAD, *rows]))
    return "\n\n".join(parts)


def _row(parameter: Any, value: str) -> str:
    """An argument or an option as a row of a table."""
    if parameter.param_type_name == "argument":
        shown = f"`{value}`"
    else:
        names = [*parameter.opts, *parameter.secondary_opts]
        shown = ", ".join(f"`{each}`" for each in names)
        shown += "" if parameter.is_flag else f" `{value}`"
    meaning = _escaped(parameter.help or "")
    if parameter.envvar:
        meaning += f" Variable: `{parameter.envvar}`."
    return f"| {shown} | {meaning} | {_default(parameter)} |".replace("\n", " ")


def _value(parameter: Any, hint: Any) -> str:
    """The word for a parameter's value: its metavar, its choices or its kind."""
    kinds = [each for each in (hint, *get_args(hint)) if isinstance(each, type)]
    word = parameter.metavar
    if word is None and parameter.param_type_name == "argument":
        word = parameter.name.upper()
    elif word is None:
        choices = [each for each in kinds if issubclass(each, Enum)]
        known = [WORDS[each] for each in kinds if each in WORDS]
        word = ",".join(map(str, choices[0])) if choices else (*known, "TEXT")[0]
    if parameter.param_type_name == "argument":
        word = word.strip("[]").removesuffix("...")
        word = f"{word} ..." if parameter.nargs == -1 else word
        word = word if parameter.required else f"[{word}]"
    return word


def _default(parameter: Any) -> str:
    """What holds if an option is not given."""
    if isinstance(parameter.show_default, str):
        return _escaped(parameter.show_default)
    if parameter.required:
        return "required"
    value = parameter.default
    if value in (None, False, (), []) or callable(value) or not parameter.show_default:
        return ""
    if value is True:
        return f"`{parameter.opts[0]}`"
    return f"`{getattr(value, 'value', value)}`"


def _escaped(text: str) -> str:
    """Text whose bars and angle brackets are no markup."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[")

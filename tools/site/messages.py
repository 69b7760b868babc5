"""All messages that say what to do, from the code that raises and logs them."""

from __future__ import annotations

import ast
import html
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TITLES: Final = {
    "config": "Configuration",
    "datasets": "Data sets",
    "tasks": "Tasks",
    "models": "Models",
    "peft": "PEFT",
    "meta": "Learning",
    "training": "Runs and checkpoints",
    "evaluation": "Evaluation",
    "adapters": "Adapters and classifiers",
    "heads": "Adapters and classifiers",
    "exchange": "Other tools",
    "runtime": "Cluster",
    "cluster": "Cluster",
    "coordinator": "Cluster",
    "worker": "Cluster",
    "queue": "Queue of runs",
    "serving": "Serving over HTTP",
    "web": "Serving over HTTP",
    "transport": "Connections, certificates, files on their way",
    "dashboard": "Dashboard and reports",
    "report": "Dashboard and reports",
    "platform": "This machine",
    "commands": "Command lines",
}
"""The heading for the messages of each package; others come last."""
OTHERS: Final = "Files and parameters"
INSIDE: Final = {"AssertionError", "LocalProtocolError", "AttributeError", "Exit"}
"""Errors that report a bug here, or end a command."""
LOGGED: Final = {"log.warning", "log.error", "warnings.warn"}
SAYS: Final = re.compile(r"(problem|reason|text|hint|remedy|error)s?$")
FORMAT: Final = re.compile(r"%(?:\.\d+)?[sdgfr]\b")
"""What a log line fills in."""
LEAST_WORDS: Final = 4
GAP: Final = "…"


def messages(root: Path) -> str:
    """Every message, by package, in Markdown; what differs each time is `…`."""
    found: dict[str, set[str]] = {title: set() for title in TITLES.values()}
    found[OTHERS] = set()
    for program in ("mlpeft", "coordinator", "worker"):
        for path in (root / program).rglob("*.py"):
            parts = path.relative_to(root).parts
            package = parts[1] if program == "mlpeft" else program
            tree = ast.parse(path.read_text("utf-8"))
            found[TITLES.get(package, OTHERS)] |= set(sentences(tree))
    return "\n\n".join(
        f"### {title}\n\n" + "\n".join(f"- {_shown(text)}" for text in _sorted(texts))
        for title, texts in found.items()
        if texts
    )


def sentences(tree: ast.AST) -> Iterator[str]:
    """The messages of a module that are of several words.

    These are what is raised or logged as a warning or an error, and what a function
    returns whose name ends in `problem`, `reason`, `text`, `hint`, `remedy` or `error`.
    """
    for node in ast.walk(tree):
        for value in _messages_of(node):
            for text in _texts(value):
                if len(re.findall(r"[a-z]{2,}", text)) >= LEAST_WORDS:
                    yield text


def _messages_of(node: ast.AST) -> list[ast.expr]:
    """The expressions that a statement or call makes a message of."""
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        name = ast.unparse(node.exc.func).rpartition(".")[2]
        return [] if name in INSIDE else node.exc.args[:1]
    if isinstance(node, ast.Call) and ast.unparse(node.func) in LOGGED:
        return node.args[:1]
    if isinstance(node, ast.FunctionDef) and SAYS.search(node.name):
        returns = [each for each in ast.walk(node) if isinstance(each, ast.Return)]
        return [each.value for each in returns if each.value is not None]
    return []


def _texts(node: ast.expr) -> Iterator[str]:
    """The texts that an expression may give."""
    if isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)
    elif isinstance(node, ast.Call):
        for argument in node.args:
            yield from _texts(argument)
    elif isinstance(node, ast.List | ast.Tuple):
        for element in node.elts:
            yield from _texts(element)
    elif (text := _text(node)) is not None:
        yield text


def _text(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant):
        return FORMAT.sub(GAP, node.value) if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(each) or GAP for each in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _text(node.left), _text(node.right)
        known = left is not None or right is not None
        return f"{left or GAP}{right or GAP}" if known else None
    return None


def _shown(text: str) -> str:
    """A message as Markdown that shows what it says."""
    line = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_\[\]{}])", r"\\\1", line)


def _sorted(texts: set[str]) -> list[str]:
    """By their first words, whatever comes before these."""
    return sorted(texts, key=lambda text: text.lstrip(f"{GAP}:'\"( ").casefold())

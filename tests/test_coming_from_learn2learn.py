"""The blocks of docs/coming_from_learn2learn.md that are ours run as pasted."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import mlx.nn  # noqa: F401 - it compiles what it defines, which a test changes
import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "coming_from_learn2learn.md").read_text(encoding="utf-8")


def test_each_block_of_ours_runs_after_those_before_it(tmp_path, monkeypatch):
    pytest.importorskip("sklearn", reason="install it with: pip install scikit-learn")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mlx.core.compile", lambda function: function)
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) == TEXT.count("*Ours*")
    session: dict[str, object] = {"__name__": "__main__"}
    for block in blocks:
        quick = block.replace("range(1000)", "range(2)")
        exec(compile(quick, "docs", "exec"), session)  # noqa: S102 - that is the test
    assert (tmp_path / "theta.npz").is_file()


def code_lines(file: Path) -> int:
    """Lines that hold code: no blank lines, comments or docstrings."""
    text = file.read_text(encoding="utf-8")
    tree = ast.parse(text)
    holds = {number for node in ast.walk(tree) for number in _lines(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            holds -= set(range(node.lineno, (node.end_lineno or 0) + 1))
    lines = text.splitlines()
    return sum(
        number in holds and bool(line.strip()) and not line.strip().startswith("#")
        for number, line in enumerate(lines, 1)
    )


def _lines(node: ast.AST) -> range:
    first = getattr(node, "lineno", None)
    return range(0) if first is None else range(first, node.end_lineno + 1)


@pytest.mark.parametrize("name", ["maml_sinusoid", "maml_omniglot"])
def test_the_lines_that_the_table_names_are_the_lines_there_are(name):
    (told,) = re.findall(rf"(\d+) \(`examples/{name}\.py`", TEXT)
    assert int(told) == code_lines(ROOT / "examples" / f"{name}.py")


def test_the_sinusoids_are_learned_by_the_example():
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "maml_sinusoid.py", "--iterations", "120"],
        capture_output=True,
        text=True,
        timeout=110,
        check=True,
    )
    rows = re.findall(r"after +(\d+) steps +([\d.]+) +([\d.]+)", done.stdout)
    losses = {int(step): (float(a), float(b)) for step, a, b in rows}
    assert losses[5][1] < losses[5][0]

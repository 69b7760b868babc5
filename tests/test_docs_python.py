"""Every block of Python of the docs and of the README runs as pasted.

A page's blocks run in one session, in the order of the page. Before them it has what
the page tells the reader to have, which `GIVEN` states a page; a page that is not named
there is given nothing. Numbers are shrunk by `SMALLER` alone.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import mlx.nn  # noqa: F401 - it compiles what it defines, which a test changes
import pytest

from tests.adapters.runs import EXAMPLES, write_base, write_run

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = {
    "docs/coming_from_learn2learn.md": "tests/test_coming_from_learn2learn.py",
    "docs/python.md": "tests/test_python_page.py",
}
"""Pages, or sections of one, whose blocks another test runs."""
SMALLER = {r"range\((40|50|100|500)\)": "range(2)"}
"""As few steps and episodes as show that a block is right."""
BLOCK = re.compile(r"^ *```python\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
Session = dict[str, Any]


def blocks(page: str) -> list[str]:
    """The blocks of a page that no other test runs."""
    text = (ROOT / page).read_text(encoding="utf-8")
    sections = re.split(r"^## (.*)\n", text, flags=re.MULTILINE)
    titled = zip(["", *sections[1::2]], sections[::2], strict=True)
    return [
        dedent(block)
        for title, section in titled
        if f"{page}, {title}" not in ELSEWHERE
        for block in BLOCK.findall(section)
    ]


def pages() -> list[str]:
    """The pages with blocks, from the top of the repository."""
    files = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    names = [str(file.relative_to(ROOT)) for file in files]
    return [name for name in names if name not in ELSEWHERE and blocks(name)]


def paste(page: str, code: str, session: Session) -> Session:
    for numbers, fewer in SMALLER.items():
        code = re.sub(numbers, fewer, code)
    exec(compile(code, page, "exec"), session)  # noqa: S102 - that is the test
    return session


def intents_run() -> Session:
    """checkpoints/intents, of a tiny encoder."""
    for folder in ("checkpoints", "made"):
        Path(folder).mkdir()
    write_run(Path("made")).rename("checkpoints/intents")
    return {}


def adapter_of_ones_own() -> Session:
    """my-adapter, as the page's commands leave it."""
    import mlpeft

    intents_run()
    mlpeft.adapt("checkpoints/intents", EXAMPLES, "my-adapter")
    return {}


def first_example() -> Session:
    """What the first example of docs/python.md leaves: `tasks` and `learner`."""
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    first = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    return paste("docs/python.md", first, {"__name__": "__main__"})


def encoder() -> Session:
    """`encoder`, the folder of a tiny one."""
    return {"encoder": str(write_base(Path("encoder")))}


def own_model() -> Session:
    """examples/ on the path with a base, and its module's names for the excerpts."""
    import own_model as example

    example.learn_base(steps=2)
    Path("base.safetensors").write_bytes(example.BASE.read_bytes())
    return dict(vars(example))


GIVEN: dict[str, Callable[[], Session]] = {
    "docs/algorithms.md": first_example,
    "docs/coming_from_setfit.md": encoder,
    "docs/encoders.md": intents_run,
    "docs/files.md": intents_run,
    "docs/own_model.md": own_model,
    "docs/tutorial_intents.md": adapter_of_ones_own,
}


def test_what_is_given_and_what_runs_elsewhere_exists():
    assert set(GIVEN) <= set(pages())
    for place, test in ELSEWHERE.items():
        page, _, title = place.partition(", ")
        text = (ROOT / page).read_text(encoding="utf-8")
        assert f"\n## {title}\n" in text or not title
        assert (ROOT / test).is_file()
        assert Path(page).name in (ROOT / test).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", pages())
def test_the_python_of_a_page_runs_as_pasted(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mlx.core.compile", lambda function: function)
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    monkeypatch.delitem(sys.modules, "own_model", raising=False)
    given = GIVEN.get(page, dict)()
    capsys.readouterr()
    session = given | {"__name__": "__main__"}
    found = blocks(page)
    for block in found:
        paste(page, block, session)
    assert bool(capsys.readouterr().out) == any("print(" in block for block in found)

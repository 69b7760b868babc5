"""The pages of the site, from those of the repository.

On a page of the repository another one is named as text, `docs/when.md`, which reads
well in an editor. On the site the name becomes a link with the page's title.
"""

from __future__ import annotations

import html
import re
import shutil
from typing import TYPE_CHECKING, Final

from tools.site.api import api
from tools.site.commands import commands
from tools.site.keys import keys
from tools.site.messages import messages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

ELSEWHERE: Final = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
}
"""Pages that are not in docs/, and their names on the site."""
PARTS: Final[dict[str, Callable[[Path], str]]] = {
    "api": api,
    "commands": commands,
    "keys": keys,
    "messages": messages,
}
"""What a page takes from the code, by the name that its comment gives."""
PART = re.compile(r"^<!-- made by make docs: (\w+) -->$", re.MULTILINE)
FENCE = re.compile(r"^( *)(```|~~~).*?^\1\2 *$", re.MULTILINE | re.DOTALL)
CODE_OR_LINK = re.compile(r"`[^`]+`|\[[^\]]*\]\([^)]*\)")
BARRED = re.compile(r"(?<!`)`([^`\n]*\\\|[^`\n]*)`(?!`)")
"""Code of a table that has a bar in it."""
NAME = re.compile(
    r"(?<![\w./-])((?:docs/[\w-]+|README|CHANGELOG|benchmarks/README)\.md)(#[\w-]+)?"
)
TARGET = re.compile(r"(?<=\]\()(?!\w+://|#)([^)\s]+)")


def write_pages(root: Path, folder: Path) -> None:
    """Write all pages and their pictures into a folder, which is replaced.

    Args:
        root: The top of the repository.
        folder: For the pages.

    Raises:
        ValueError: For a part that no code makes.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(root / "docs", folder)
    sources = {f"docs/{page.name}": page.name for page in folder.glob("*.md")}
    sources |= ELSEWHERE
    texts = {source: (root / source).read_text("utf-8") for source in sources}
    links = {
        source: (title(texts[source]), target) for source, target in sources.items()
    }
    for source, target in sources.items():
        text = barred(filled(linked(texts[source], source, links), root))
        (folder / target).write_text(text, encoding="utf-8")


def title(text: str) -> str:
    """A page's first heading."""
    found = re.search(r"^# (.+)$", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"a page without a heading: {text[:60]!r}; begin it with one")
    return found[1]


def linked(text: str, source: str, links: Mapping[str, tuple[str, str]]) -> str:
    """A page whose names of pages are links, outside of code.

    Args:
        text: Markdown.
        source: The page, from the top of the repository.
        links: Title, and name on the site, of each page.
    """
    parts, end = [], 0
    for fence in FENCE.finditer(text):
        parts += [_prose(text[end : fence.start()], source, links), fence[0]]
        end = fence.end()
    return "".join([*parts, _prose(text[end:], source, links)])


def _prose(text: str, source: str, links: Mapping[str, tuple[str, str]]) -> str:
    parts, end = [], 0
    for kept in CODE_OR_LINK.finditer(text):
        parts += [_named(text[end : kept.start()], source, links)]
        parts += [TARGET.sub(lambda match: _moved(match[1], links), kept[0])]
        end = kept.end()
    return "".join([*parts, _named(text[end:], source, links)])


def _named(text: str, source: str, links: Mapping[str, tuple[str, str]]) -> str:
    def link(match: re.Match[str]) -> str:
        if match[1] not in links or match[1] == source:
            return match[0]
        name, target = links[match[1]]
        return f"[{name}]({target}{match[2] or ''})"

    return NAME.sub(link, text)


def _moved(target: str, links: Mapping[str, tuple[str, str]]) -> str:
    """The target of a link as it is from the folder of the site's pages."""
    path, hash_, anchor = target.partition("#")
    if path in links:
        return f"{links[path][1]}{hash_}{anchor}"
    return target.removeprefix("docs/")


def barred(text: str) -> str:
    """A page whose bars in code of tables are bars, without the backslash before."""

    def code(match: re.Match[str]) -> str:
        plain = html.escape(match[1].replace(r"\|", "|"), quote=False)
        return f"<code>{plain.replace('|', '&#124;')}</code>"

    rows = re.compile(r"^\|.*$", re.MULTILINE)
    return rows.sub(lambda row: BARRED.sub(code, row[0]), text)


def filled(text: str, root: Path) -> str:
    """A page with the parts that are made from the code."""

    def part(match: re.Match[str]) -> str:
        if match[1] not in PARTS:
            raise ValueError(f"no code makes {match[1]!r}; there are: {sorted(PARTS)}")
        return PARTS[match[1]](root)

    return PART.sub(part, text)

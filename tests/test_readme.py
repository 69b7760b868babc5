"""The README is short: what it is, two commands, one picture, one table, and links."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text("utf-8")


def test_it_can_be_read_in_two_minutes():
    assert len(TEXT.splitlines()) < 100
    assert TEXT.count("![") == 1


def test_its_two_commands_are_targets_of_make():
    (block,) = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    targets = re.findall(r"^make (\w+)", block, re.MULTILINE)
    assert targets == ["demo", "test"]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert all(f"\n{target}:" in makefile for target in targets)


def test_it_leads_to_every_page():
    """By name, or over a page that it names."""
    named = set(re.findall(r"docs/([\w-]+\.md)", TEXT))
    beyond = {
        other
        for page in named
        for other in re.findall(
            r"docs/([\w-]+\.md)", (ROOT / "docs" / page).read_text("utf-8")
        )
    }
    pages = {page.name for page in (ROOT / "docs").glob("*.md")}
    assert pages - named - beyond == set()

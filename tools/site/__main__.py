"""Build the docs site into build/site.

    python -m tools.site

The pages of docs/ are copied to build/docs, where names of pages become links and the
parts that are made from the code are filled in. Zensical then builds them as mkdocs.yml
says, which MkDocs with its theme Material reads, too (`mkdocs build`, after this).
"""

# ruff: noqa: T201 - a script

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tools.site.pages import write_pages

ROOT = Path(__file__).resolve().parents[2]
PAGES = Path("build", "docs")
SITE = Path("build", "site")


def build(folder: Path) -> int:
    """Build the site in a folder with a mkdocs.yml; the exit code."""
    write_pages(ROOT, folder / PAGES)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    return subprocess.run(command, cwd=folder, check=False).returncode  # noqa: S603


if __name__ == "__main__":
    code = build(ROOT)
    if code == 0:
        print(f"open {SITE / 'index.html'} in a browser")
    sys.exit(code)

"""Prints a report to PDF with a browser that is at hand."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlpeft.errors import MlpeftError

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES: Final = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
    *("microsoft-edge", "brave-browser"),
)
MAC: Final = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
)
TIMEOUT_S: Final = 90.0


def browser() -> str:
    """A browser that prints.

    Raises:
        MlpeftError: If there is none.
    """
    found = next(_browsers(), None)
    if found is None:
        raise MlpeftError(
            "--pdf needs Chromium, Chrome, Edge or Brave, and none is installed; open "
            "the HTML file in any browser and print it to PDF there"
        )
    return found


def _browsers() -> Iterator[str]:
    yield from filter(None, map(shutil.which, NAMES))
    if sys.platform == "darwin":
        yield from (path for path in MAC if Path(path).exists())


def print_pdf(page: Path, pdf: Path) -> None:
    """Print a page.

    Args:
        page: An HTML file.
        pdf: The file to write.

    Raises:
        MlpeftError: If the browser fails, with what it said.
    """
    with tempfile.TemporaryDirectory() as profile:
        command = [
            browser(),
            "--headless",
            "--disable-gpu",
            # As root, in a container, Chromium starts without its sandbox alone; the
            # page has no script.
            *(["--no-sandbox"] if _is_root() else []),
            "--no-pdf-header-footer",
            f"--user-data-dir={profile}",
            f"--print-to-pdf={pdf.absolute()}",
            page.absolute().as_uri(),
        ]
        try:
            done = subprocess.run(  # noqa: S603 - our own command
                command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise MlpeftError(
                f"{command[0]} did not print within {TIMEOUT_S:g} s; the HTML file is "
                f"at {page}"
            ) from error
    if done.returncode != 0 or not pdf.is_file():
        said = done.stderr.strip().splitlines()[-1:] or ["no reason"]
        raise MlpeftError(f"{command[0]} could not print {page}: {said[0]}")


def _is_root() -> bool:
    import os

    return os.geteuid() == 0

"""A report as one HTML file that needs nothing else: no script, no other address."""

from __future__ import annotations

import time
from importlib import resources
from typing import TYPE_CHECKING

from mlpeft import __version__
from mlpeft.charts import __name__ as charts_package
from mlpeft.charts.svg import Markup, element, join
from mlpeft.report import cluster_story, learning, origins, results, weaknesses

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from mlpeft.dashboard.run_folder import RunFolder

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""A report that was sent runs no script, whatever its run's files hold."""


def render(folders: Sequence[RunFolder], failures: Mapping[str, dict[str, Any]]) -> str:
    """The report of one run, or of several.

    Args:
        folders: What was read of them; the first is described most.
        failures: By a run's name, where it fails.
    """
    first = folders[0]
    title = first.name if len(folders) == 1 else f"{len(folders)} runs"
    sections = [
        results.section(folders),
        learning.section(folders),
        *(
            weaknesses.section(f.name, failures[f.name])
            for f in folders
            if f.name in failures
        ),
        *(cluster_story.section(folder, len(folders) > 1) for folder in folders),
        origins.section(folders),
    ]
    made = time.strftime("%Y-%m-%d %H:%M")
    body = [
        element(
            "header",
            element("p", "mlpeft report", class_="brand"),
            element("h1", title),
            element("p", origins.sentence(folders), class_="lead"),
        ),
        *sections,
        element("footer", f"Made {made} by mlpeft {__version__}."),
    ]
    head = [
        Markup('<meta charset="utf-8">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        Markup('<meta name="color-scheme" content="light dark">'),
        element("title", f"{title} · mlpeft report"),
        element("style", Markup(_styles())),
    ]
    document = element(
        "html",
        element("head", head),
        element("body", element("main", join(body))),
        lang="en",
    )
    return f"<!doctype html>\n{document}\n"


def _styles() -> str:
    own = resources.files("mlpeft.report").joinpath("report.css").read_text("utf-8")
    shared = resources.files(charts_package).joinpath("charts.css").read_text("utf-8")
    return shared + own

"""The section with the curves of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.charts.svg import Markup, element
from mlpeft.dashboard.charts import ChartRequest, draw
from mlpeft.report import parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.dashboard.run_folder import RunFolder

CAPTIONS = {
    "loss": "Training loss; band: one standard deviation among neighbours",
    "validation": "Validation, with 95 % intervals over episodes",
    "adaptation": "Adaptation to validation tasks, by inner steps",
    "speed": "Meta-iterations per second",
}


def _adapts(folders: Sequence[RunFolder]) -> bool:
    """Whether any validation takes inner steps: a prototypical network takes none."""
    return any(
        len(result.steps) > 1
        for folder in folders
        for _, result, _ in folder.measured.validations[-1:]
    )


def section(folders: Sequence[RunFolder]) -> Markup:
    """Curves of all runs."""
    charts = [
        parts.figure(Markup(draw(ChartRequest(name, 460.0), folders)), caption)
        for name, caption in CAPTIONS.items()
        if name != "adaptation" or _adapts(folders)
    ]
    best = [
        (folder.name, f"{best[1].headline}, after {best[0]:,} meta-iterations")
        for folder in folders
        if (best := folder.measured.best) is not None
    ]
    return parts.section(
        "Training",
        element("div", charts, class_="charts"),
        parts.facts([(f"best validation of {name}", text) for name, text in best]),
    )

"""The section on where a start fails: confusion, worst classes and tasks, examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlpeft.charts.heatmap import heatmap
from mlpeft.charts.svg import Markup, element
from mlpeft.report import parts

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_CLASSES = 10
MOST_PAIRS = 8
MOST_EXAMPLES = 8


def section(name: str, found: Mapping[str, Any]) -> Markup:
    """Where a run fails, from `failures.analyse`."""
    names = [each["name"] for each in found["classes"][:MOST_CLASSES]]
    counts = {(t, g): (count, of) for t, g, count, of in found["pairs"]}
    shares = [
        [_share(counts.get((truth, guess))) for guess in names] for truth in names
    ]
    wrong = [pair for pair in found["pairs"] if pair[0] != pair[1]][:MOST_PAIRS]
    children: list[object] = [
        element(
            "p",
            f"Queries of {found['episodes']} test episodes of {name}, classified after "
            "the last inner step.",
        ),
        element(
            "div",
            parts.figure(
                heatmap(
                    "Which class was taken for which, in per cent of its queries",
                    names,
                    names,
                    shares,
                    "class",
                    "taken for",
                ),
                _caption(len(names), len(found["classes"])),
            ),
            parts.table(
                ("Class", "taken for", "of its queries"),
                [(t, g, f"{100 * c / of:.1f} % of {of}") for t, g, c, of in wrong],
                "Most frequent confusions",
            ),
            class_="charts",
        ),
        parts.table(
            ("Classes of the task", "accuracy"),
            [
                (", ".join(task["classes"]), f"{100 * task['accuracy']:.0f} %")
                for task in found["tasks"]
            ],
            "Worst tasks",
        ),
    ]
    if found["examples"]:
        children.append(_examples(found["examples"][:MOST_EXAMPLES]))
    return parts.section("Where it fails", *children)


def _share(count: tuple[int, int] | None) -> float:
    return 0.0 if count is None else count[0] / max(count[1], 1)


def _caption(shown: int, classes: int) -> str:
    if shown == classes:
        return "Rows sum to 100 %; the hardest class is first"
    return (
        f"The {shown} hardest of {classes} classes; the rest of a row went to classes "
        "that are not shown, or never met in a task"
    )


def _examples(examples: list[Mapping[str, str]]) -> Markup:
    """Queries that went wrong, as text or picture."""
    shown = []
    for example in examples:
        labels = f"{example['class']}, taken for {example['taken_for']}"
        if "image" in example:
            source = f"data:image/png;base64,{example['image']}"
            what = element("img", src=source, alt=f"A query of {labels}", width=72)
        else:
            what = element("q", example.get("text", ""))
        shown.append(element("li", what, element("span", labels)))
    return element(
        "div",
        element("h3", "Examples that went wrong"),
        element("ul", shown, class_="examples"),
    )

"""What a notebook shows of results and runs: small tables, escaped like all markup.

No colours and no fonts: a notebook has its own, dark or light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.charts.svg import element

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MOST_ROWS = 50
"""A longer table ends with how many rows it leaves out."""


def table(
    title: str,
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    caption: str = "",
) -> str:
    """A table as HTML.

    Args:
        title: Above it, in bold.
        header: Names of the columns.
        rows: Texts and numbers, escaped here; the first cell names its row.
        caption: Below it.
    """
    cells = list(rows)
    shown = [
        element("tr", element("th", row[0]), *(element("td", it) for it in row[1:]))
        for row in cells[:MOST_ROWS]
    ]
    left_out = len(cells) - len(shown)
    notes = [caption] if caption else []
    notes += [f"and {left_out:,} more"] if left_out > 0 else []
    head = element("tr", *(element("th", name) for name in header)) if header else ""
    return element(
        "div",
        element("strong", title),
        element("table", element("thead", head), element("tbody", *shown)),
        *(element("small", note) for note in notes),
        class_="mlpeft",
    )


def facts(title: str, values: Mapping[str, object]) -> str:
    """A table of names and values; values that are None are left out."""
    rows = [(name, str(value)) for name, value in values.items() if value is not None]
    return table(title, (), rows)

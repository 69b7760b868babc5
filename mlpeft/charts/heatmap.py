"""Heat maps: shares of rows by column, such as which class was taken for which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mlpeft.charts.svg import Markup, element, svg

if TYPE_CHECKING:
    from collections.abc import Sequence

CELL: Final = 46.0
MOST_LABEL: Final = 22
"""Characters of a label that are shown."""


def heatmap(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    shares: Sequence[Sequence[float]],
    row_label: str,
    column_label: str,
) -> Markup:
    """A grid of cells with their share in per cent.

    Args:
        title: For screen readers.
        rows: Names of the rows.
        columns: Names of the columns.
        shares: rows x columns numbers from 0 to 1.
        row_label: What rows are.
        column_label: What columns are.
    """
    longest = max(len(_short(name)) for name in [*rows, *columns])
    left, top = max(44.0, 24 + 6.8 * longest), 38 + 4.9 * longest
    parts: list[object] = [
        element("text", column_label, x=left, y=14, class_="legend"),
        element("text", row_label, x=0, y=top - 8, class_="legend"),
    ]
    for j, name in enumerate(columns):
        x = left + CELL * (j + 0.5)
        angle = 0 if longest <= 5 else -40
        turn = f"translate({x:.1f} {top - 8:.1f}) rotate({angle})"
        style = None if angle else "tick x"
        parts.append(element("text", _short(name), transform=turn, class_=style))
    for i, name in enumerate(rows):
        y = top + CELL * i
        label = element("text", _short(name), x=left - 8, y=y + 27, class_="tick y")
        parts.append(label)
        for j, share in enumerate(shares[i]):
            parts += _cell(left + CELL * j, y, share, f"{name}: {columns[j]}")
    width = left + max(CELL * len(columns), 60.0) + 5 * longest
    return svg(
        width, top + CELL * len(rows) + 6, parts, title=title, class_="chart heat"
    )


def _cell(x: float, y: float, share: float, name: str) -> list[Markup]:
    cell = element(
        "rect",
        element("title", f"{name}: {100 * share:.1f} %"),
        x=x,
        y=y,
        width=CELL,
        height=CELL,
        rx=4.0,
        class_="cell",
        fill_opacity=0.05 + 0.95 * share,
    )
    over = " over" if share > 0.5 else ""
    text = element(
        "text",
        f"{100 * share:.0f}",
        x=x + CELL / 2,
        y=y + CELL / 2 + 4,
        class_=f"cell-text{over}",
    )
    return [cell, text]


def _short(name: str) -> str:
    return name if len(name) <= MOST_LABEL else f"{name[: MOST_LABEL - 1]}…"

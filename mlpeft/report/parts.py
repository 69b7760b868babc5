"""What the sections of a report are made of."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mlpeft.charts.svg import Markup, element

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.report.scores import Value


def section(title: str, *children: object) -> Markup:
    """A section with its heading."""
    return element("section", element("h2", title), *children)


def table(
    head: Sequence[str], rows: Sequence[Sequence[object]], caption: str = ""
) -> Markup:
    """A table whose first column names the rows."""
    body = [
        element(
            "tr",
            element("th", row[0], scope="row"),
            [element("td", cell) for cell in row[1:]],
        )
        for row in rows
    ]
    columns = [element("th", name, scope="col") for name in head]
    return element(
        "div",
        element(
            "table",
            element("caption", caption) if caption else None,
            element("thead", element("tr", columns)),
            element("tbody", body),
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=caption or head[0],
    )


def facts(rows: Sequence[tuple[str, object]]) -> Markup:
    """Names and values."""
    pairs = [
        element("div", element("dt", name), element("dd", value))
        for name, value in rows
        if value not in (None, "")
    ]
    return element("dl", pairs, class_="facts")


def figure(picture: Markup, caption: str) -> Markup:
    """A picture and what it shows."""
    return element("figure", picture, element("figcaption", caption))


def number(value: Value | None, digits: int, *, signed: bool = False) -> str:
    """A mean with its interval: `93.4 ± 0.6`; "" for none."""
    if value is None:
        return ""
    sign = "+" if signed and value.mean >= 0 else ""
    text = f"{sign}{value.mean:.{digits}f}"
    return text if math.isnan(value.half) else f"{text} ± {value.half:.{digits}f}"

"""Line charts with bands, ticks and a legend."""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mlpeft.charts.scales import Scale, span, tick_label
from mlpeft.charts.svg import Markup, element, svg

if TYPE_CHECKING:
    from collections.abc import Sequence

STYLES: Final = 6
"""Colours, dashes and markers of `charts.css` before they repeat."""
LEFT, RIGHT, TOP, BOTTOM = 54.0, 14.0, 12.0, 40.0
"""Margins of the plotting area in pixels."""


@dataclass(frozen=True, slots=True)
class Series:
    """A line.

    Attributes:
        name: For the legend.
        x: n ascending numbers.
        y: n numbers; NaN is a gap.
        low: The band's lower edge, n numbers, or empty; NaN: no band there.
        high: Its upper edge.
        style: 0 to `STYLES` - 1: colour, dash and marker; None: by position.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    style: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChart:
    """Lines over a common axis.

    Attributes:
        title: For screen readers; the page has its own headings.
        x_label: With unit.
        y_label: With unit.
        series: What to draw, the most important first.
        width: In pixels.
        height: In pixels, without the legend.
        log: Whether the y axis is logarithmic.
        x_range: What of the x axis to show; None: all.
        y_range: Likewise.
        from_zero: Whether the y axis begins at zero, unless it is logarithmic.
        markers: Whether each point has a marker.
        empty: What to say where there is nothing to draw.
    """

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series] = field(default_factory=tuple)
    width: float = 640.0
    height: float = 260.0
    log: bool = False
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    from_zero: bool = False
    markers: bool = False
    empty: str = "Nothing measured yet"

    def render(self) -> Markup:
        """The chart as SVG."""
        drawn = [s for s in self.series if any(map(math.isfinite, s.y))]
        legend = _legend(self.series, self.width)
        height = self.height + legend.height
        if not drawn:
            text = element(
                "text", self.empty, x=self.width / 2, y=self.height / 2, class_="empty"
            )
            return svg(self.width, self.height, text, title=self.title, class_="chart")
        x = self._x_scale(drawn)
        y = self._y_scale(drawn, x, legend.height)
        drawn_as = f"{self.title} {self.width} {x.low} {x.high}".encode()
        clip = f"clip-{zlib.crc32(drawn_as):x}"
        styles = [s.style if s.style is not None else i for i, s in enumerate(drawn)]
        numbered = list(zip(styles, drawn, strict=True))
        return svg(
            self.width,
            height,
            element("title", self.title),
            element("desc", _summary(drawn)),
            _clip(clip, x, y),
            self._axes(x, y, height),
            element(
                "g",
                [_band(n, s, x, y) for n, s in reversed(numbered)],
                [_line(n, s, x, y) for n, s in reversed(numbered)],
                [_markers(n, s, x, y, self.markers) for n, s in reversed(numbered)],
                clip_path=f"url(#{clip})",
            ),
            legend.markup,
            title=self.title,
            class_="chart",
            data_chart=_points(numbered, x, y),
        )

    def _x_scale(self, drawn: Sequence[Series]) -> Scale:
        values = [v for s in drawn for v in (s.x[0], s.x[-1]) if len(s.x)]
        low, high = self.x_range or span(values, log=False, pad=0.0)
        if self.x_range is None and low == high:
            low, high = low - 0.5, high + 0.5
        return Scale(low, high, LEFT, self.width - RIGHT)

    def _y_scale(self, drawn: Sequence[Series], x: Scale, top: float) -> Scale:
        shown = [
            value
            for s in drawn
            for values in (s.y, s.low, s.high)
            for at, value in zip(s.x, values, strict=False)
            if x.low <= at <= x.high
        ]
        low, high = self.y_range or span(shown, log=self.log)
        if self.from_zero and not self.log and self.y_range is None:
            low = min(0.0, min((v for v in shown if math.isfinite(v)), default=0.0))
        bottom = TOP + top + self.height - TOP - BOTTOM
        return Scale(low, high, bottom, TOP + top, self.log)

    def _axes(self, x: Scale, y: Scale, height: float) -> Markup:
        parts: list[object] = []
        for tick in y.ticks(5):
            at = y(tick)
            parts += [
                element("line", x1=x.start, x2=x.end, y1=at, y2=at, class_="grid"),
                element(
                    "text", tick_label(tick), x=x.start - 8, y=at + 4, class_="tick y"
                ),
            ]
        for tick in x.ticks(int(max(3, min(8, self.width / 90)))):
            at = x(tick)
            parts += [
                element(
                    "line", x1=at, x2=at, y1=y.start, y2=y.start + 4, class_="axis"
                ),
                element(
                    "text", tick_label(tick), x=at, y=y.start + 17, class_="tick x"
                ),
            ]
        middle = (y.start + y.end) / 2
        parts += [
            element(
                "line", x1=x.start, x2=x.end, y1=y.start, y2=y.start, class_="axis"
            ),
            element(
                "text",
                self.x_label,
                x=(x.start + x.end) / 2,
                y=height - 6,
                class_="label",
            ),
            element(
                "text",
                self.y_label,
                x=0,
                y=0,
                class_="label",
                transform=f"translate(13 {middle:.1f}) rotate(-90)",
            ),
        ]
        return element("g", parts, aria_hidden="true")


@dataclass(frozen=True, slots=True)
class _Legend:
    """The names above a chart, and the pixels that they take."""

    markup: Markup
    height: float


def _legend(series: Sequence[Series], width: float) -> _Legend:
    if len(series) < 2:
        return _Legend(Markup(""), 0.0)
    parts, x, y = [], LEFT, 14.0
    for index, each in enumerate(series):
        style = _class(each.style if each.style is not None else index)
        length = 48 + 6.4 * len(each.name)
        if x + length > width - RIGHT and x > LEFT:
            x, y = LEFT, y + 18
        parts.append(
            element(
                "g",
                element("line", x1=x, x2=x + 22, y1=y - 4, y2=y - 4, class_="line"),
                _marker(style, x + 11, y - 4),
                element("text", each.name, x=x + 28, y=y, class_="legend"),
                class_=f"series {style}",
            )
        )
        x += length
    return _Legend(element("g", parts), y + 2)


def _class(index: int) -> str:
    return f"s{index % STYLES}"


def _clip(name: str, x: Scale, y: Scale) -> Markup:
    area = element(
        "rect",
        x=x.start - 1,
        y=y.end - 6,
        width=x.end - x.start + 7,
        height=y.start - y.end + 8,
    )
    return element("defs", element("clipPath", area, id=name))


def _line(index: int, series: Series, x: Scale, y: Scale) -> Markup:
    parts, pen = [], "M"
    for at, value in zip(series.x, series.y, strict=True):
        if not math.isfinite(value):
            pen = "M"
            continue
        parts.append(f"{pen}{x(at):.1f} {y(value):.1f}")
        pen = "L"
    path = element("path", d="".join(parts), class_="line")
    return element("g", path, class_=f"series {_class(index)}")


def _band(index: int, series: Series, x: Scale, y: Scale) -> Markup | None:
    edges = [
        (x(at), y(low), y(high))
        for at, low, high in zip(series.x, series.low, series.high, strict=False)
        if math.isfinite(low) and math.isfinite(high)
    ]
    if len(edges) < 2:
        return None
    upper = [f"{at:.1f} {high:.1f}" for at, _, high in edges]
    lower = [f"{at:.1f} {low:.1f}" for at, low, _ in reversed(edges)]
    path = element("path", d=f"M{'L'.join(upper + lower)}Z", class_="band")
    return element("g", path, class_=f"series {_class(index)}")


def _markers(
    index: int, series: Series, x: Scale, y: Scale, every: bool
) -> Markup | None:
    """A marker at each point, or at the last one."""
    points = _finite(series)
    if not points:
        return None
    shown = points if every and len(points) <= 40 else points[-1:]
    style = _class(index)
    return element(
        "g",
        [_marker(style, x(at), y(value)) for at, value in shown],
        class_=f"series {style}",
    )


def _marker(style: str, x: float, y: float) -> Markup:
    """A shape a style, so that lines differ without colour."""
    match style:
        case "s1":
            return element(
                "rect", x=x - 3.2, y=y - 3.2, width=6.4, height=6.4, class_="marker"
            )
        case "s2":
            path = f"M{x:.1f} {y - 4.4:.1f}l4.4 7.6h-8.8z"
        case "s3":
            path = f"M{x:.1f} {y - 4.6:.1f}l4.6 4.6-4.6 4.6-4.6-4.6z"
        case "s4":
            path = f"M{x:.1f} {y + 4.4:.1f}l4.4-7.6h-8.8z"
        case "s5":
            arms = "h2.4v-2.4h2.4v2.4h2.4v2.4h-2.4v2.4h-2.4v-2.4h-2.4z"
            path = f"M{x - 3.6:.1f} {y - 1.2:.1f}{arms}"
        case _:
            return element("circle", cx=x, cy=y, r=3.4, class_="marker")
    return element("path", d=path, class_="marker")


def _points(numbered: Sequence[tuple[int, Series]], x: Scale, y: Scale) -> str:
    """What a script needs to show values under the pointer, as JSON."""
    return json.dumps(
        {
            "left": x.start,
            "right": x.end,
            "top": y.end,
            "bottom": y.start,
            "x": [x.low, x.high],
            "series": [
                {
                    "name": s.name,
                    "style": _class(n),
                    "x": [round(v, 4) for v in s.x],
                    "y": [_short(v) for v in s.y],
                    "py": [round(y(v), 1) if math.isfinite(v) else None for v in s.y],
                    "half": [
                        _short((h - w) / 2) for w, h in zip(s.low, s.high, strict=False)
                    ],
                }
                for n, s in numbered
            ],
        },
        separators=(",", ":"),
    )


def _short(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _summary(drawn: Sequence[Series]) -> str:
    """The last value of each line, for who cannot see them."""
    return "; ".join(
        f"{s.name}: {last:.4g} at {at:g}"
        for s in drawn
        for at, last in [_finite(s)[-1]]
    )


def _finite(series: Series) -> list[tuple[float, float]]:
    pairs = zip(series.x, series.y, strict=True)
    return [(x, y) for x, y in pairs if math.isfinite(y)]

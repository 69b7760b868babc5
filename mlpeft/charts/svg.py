"""Elements of SVG and HTML as text, escaped in this one place."""

from __future__ import annotations

import html
from typing import Final

SVG_NAMESPACE: Final = "http://www.w3.org/2000/svg"


class Markup(str):
    """Text that is markup already; every other text is escaped."""

    __slots__ = ()


def element(name: str, /, *children: object, **attributes: object) -> Markup:
    """An element with escaped attributes and children.

    Args:
        name: Its tag.
        children: Markup, or text to be escaped; None and "" are left out.
        attributes: `class_` becomes `class`, `data_x` becomes `data-x`; None is left
            out, floats have two decimals at most.
    """
    return Markup(
        f"<{name}{_attributes(attributes)}>{join(children)}</{name}>"
        if children or name not in _EMPTY
        else f"<{name}{_attributes(attributes)}/>"
    )


def join(children: object) -> Markup:
    """Markup of several children, one after the other."""
    if isinstance(children, list | tuple):
        return Markup("".join(join(child) for child in children))
    if children is None:
        return Markup("")
    if isinstance(children, Markup):
        return children
    return Markup(html.escape(str(children)))


_EMPTY: Final = frozenset(
    {"line", "rect", "circle", "path", "polyline", "polygon", "use", "meta", "br"}
)


def _attributes(attributes: dict[str, object]) -> str:
    return "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return html.escape(str(value))


def svg(
    width: float, height: float, *children: object, title: str, **attributes: object
) -> Markup:
    """A picture with a name for screen readers.

    Args:
        width: In pixels.
        height: In pixels.
        children: What it shows.
        title: What it is.
        attributes: Of the root element.
    """
    return element(
        "svg",
        *children,
        xmlns=SVG_NAMESPACE,
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
        role="img",
        aria_label=title,
        **attributes,
    )

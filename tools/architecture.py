"""Draw docs/images/architecture.svg from the imports, or check that it is up to date.

    python tools/architecture.py          # after a change of what imports what
    python tools/architecture.py --check  # in CI: exit code 1 if someone forgot

A row is a layer of pyproject.toml, an arrow an import. An arrow that follows from two
others is left out, so that the picture stays readable: what is below may be imported.
"""

# ruff: noqa: INP001, T201 - a script

from __future__ import annotations

import argparse
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import grimp

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "images" / "architecture.svg"
PROGRAMS = ("coordinator", "worker")
WIDTH, ROW, BOX_WIDTH, BOX_HEIGHT, MARGIN = 880, 74, 132, 34, 16

STYLE = """
  .box { fill: #f4f6fa; stroke: #3b5b8c; stroke-width: 1.2 }
  .base { fill: #eef4ee; stroke: #4a7a4a }
  .pure { fill: #fdf3e1; stroke: #b07a1c }
  .import { stroke: #7a8699; stroke-width: 1.1; fill: none; marker-end: url(#head) }
  text { font: 14px system-ui, sans-serif; fill: #1c2530; text-anchor: middle }
  @media (prefers-color-scheme: dark) {
    .box { fill: #1d2736; stroke: #8fb0e0 }
    .base { fill: #1c2a1e; stroke: #8cc08c }
    .pure { fill: #33281a; stroke: #e0b060 }
    .import { stroke: #98a4b8 }
    text { fill: #e8edf4 }
  }
"""
HEAD = (
    '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
    'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="#7a8699"/></marker>'
)


class Box(NamedTuple):
    """Packages that stand in one box of the picture.

    Attributes:
        names: Of packages and modules of mlpeft, or of a program.
        x: Of the box's centre, in pixels.
        y: Of its upper edge.
        width: In pixels.
    """

    names: tuple[str, ...]
    x: float
    y: float
    width: float

    @property
    def is_base(self) -> bool:
        """Whether it is the lowest layer, which everybody may import."""
        return self.width > BOX_WIDTH


def layers() -> list[list[tuple[str, ...]]]:
    """The boxes of each row, high to low, from import-linter's contract.

    `|` separates packages that do not import each other, `:` those that may.
    """
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    (inside,) = (entry for entry in contracts if entry.get("containers"))
    rows: list[list[tuple[str, ...]]] = [[(name,) for name in PROGRAMS]]
    for row in inside["layers"]:
        groups = [group.split(":") for group in row.split("|")]
        rows.append([tuple(name.strip() for name in group) for group in groups])
    return rows


def place(rows: list[list[tuple[str, ...]]]) -> list[Box]:
    """The boxes of all rows; the lowest one is as wide as the picture."""
    placed = []
    for number, row in enumerate(rows):
        gap, y = WIDTH / len(row), MARGIN + number * ROW
        width = WIDTH - 2 * MARGIN if number == len(rows) - 1 else BOX_WIDTH
        for column, names in enumerate(row):
            placed.append(Box(names, gap * (column + 0.5), y, width))
    return placed


def imports(boxes: list[Box]) -> set[tuple[Box, Box]]:
    """Which boxes import which, without what follows from two other imports."""
    sys.path.insert(0, str(ROOT))
    graph = grimp.build_graph("mlpeft", *PROGRAMS, cache_dir=None)
    box_of = {module: box for box in boxes for module in _modules(graph, box)}
    direct: dict[Box, set[Box]] = {box: set() for box in boxes}
    for module, box in box_of.items():
        for imported in graph.find_modules_directly_imported_by(module):
            if box_of.get(imported, box) != box:
                direct[box].add(box_of[imported])
    reached = {box: _reached(box, direct) for box in boxes}
    return {
        (box, other)
        for box, others in direct.items()
        for other in others
        if not any(other in reached[between] for between in others - {other})
    }


def _modules(graph: grimp.ImportGraph, box: Box) -> set[str]:
    roots = {n if n in PROGRAMS else f"mlpeft.{n}" for n in box.names}
    return roots.union(*(graph.find_descendants(root) for root in roots))


def _reached(box: Box, direct: dict[Box, set[Box]]) -> set[Box]:
    reached: set[Box] = set()
    waiting = list(direct[box])
    while waiting:
        imported = waiting.pop()
        if imported not in reached:
            reached.add(imported)
            waiting += direct[imported]
    return reached


def draw() -> str:
    """The picture as SVG."""
    rows = layers()
    boxes = place(rows)
    arrows = sorted(_arrow(*pair) for pair in imports(boxes))
    shapes = [_shape(box) for box in boxes]
    height = MARGIN * 2 + (len(rows) - 1) * ROW + BOX_HEIGHT
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'role="img" aria-label="Packages of mlpeft and their imports">'
    )
    parts = [opening, f"<style>{STYLE}</style>", HEAD, *arrows, *shapes, "</svg>"]
    return "\n".join(parts) + "\n"


def _arrow(importer: Box, imported: Box) -> str:
    """A curve from the lower edge of one box to the upper edge of another."""
    start, top, bottom = importer.x, importer.y + BOX_HEIGHT, imported.y
    end = start
    if not imported.is_base:
        end = imported.x + max(-40, min(40, (start - imported.x) / 6))
    # A bow around what stands in between.
    in_the_way = bottom - top > ROW and abs(end - start) < BOX_WIDTH
    side = BOX_WIDTH if in_the_way else 0
    middle = (top + bottom) / 2
    control = f"C{start + side:.0f} {middle:.0f} {end + side:.0f} {middle:.0f}"
    path = f"M{start:.0f} {top:.0f} {control} {end:.0f} {bottom:.0f}"
    return f'<path class="import" d="{path}"/>'


def _shape(box: Box) -> str:
    kind = "box base" if box.is_base else "box"
    kind += " pure" if box.names == ("cluster",) else ""
    label = (" &#160; " if box.is_base else ", ").join(box.names)
    left = box.x - box.width / 2
    return (
        f'<rect class="{kind}" x="{left:.0f}" y="{box.y:.0f}" rx="6" '
        f'width="{box.width:.0f}" height="{BOX_HEIGHT}"/>'
        f'<text x="{box.x:.0f}" y="{box.y + 22:.0f}">{label}</text>'
    )


def main() -> int:
    """Command line; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing")
    picture = draw()
    if not parser.parse_args().check:
        PICTURE.write_text(picture, encoding="utf-8")
        return 0
    if PICTURE.is_file() and PICTURE.read_text(encoding="utf-8") == picture:
        return 0
    print(f"{PICTURE.relative_to(ROOT)} is not what the imports are", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())

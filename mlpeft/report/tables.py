"""The K-shot table for papers: CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final

from mlpeft.errors import DataError
from mlpeft.report.results import shots_table
from mlpeft.report.scores import methods

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.dashboard.run_folder import RunFolder

_SPECIAL: Final = str.maketrans(
    {
        **{char: f"\\{char}" for char in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
    }
)


def _rows(folders: Sequence[RunFolder]) -> tuple[list[str], list[list[str]]]:
    head, body = shots_table(methods(folders))
    if not body:
        raise DataError(
            "no run has scores on test tasks; run `mlpeft compare --checkpoint RUN` "
            "for each"
        )
    return head, body


def as_csv(folders: Sequence[RunFolder]) -> str:
    """The table with a column for each mean, and one for its interval.

    Raises:
        DataError: If there are no scores.
    """
    head, body = _rows(folders)
    names = 2 if head[0] == "method" else 1
    columns = head[:names]
    for name in head[names:]:
        columns += [name, f"{name} ±"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in body:
        cells = row[:names]
        for cell in row[names:]:
            mean, _, half = cell.partition(" ± ")
            cells += [mean, half]
        writer.writerow(cells)
    return out.getvalue()


def as_latex(folders: Sequence[RunFolder]) -> str:
    r"""The table as a LaTeX `tabular` with booktabs' rules.

    Raises:
        DataError: If there are no scores.
    """
    head, body = _rows(folders)
    names = 2 if head[0] == "method" else 1
    columns = "l" * names + "r" * (len(head) - names)
    lines = [
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(_plain(name) for name in head) + r" \\",
        r"\midrule",
        *(" & ".join(_cell(cell) for cell in row) + r" \\" for row in body),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    return text.translate(_SPECIAL)


def _cell(text: str) -> str:
    mean, sign, half = text.partition(" ± ")
    if not sign:
        return _plain(text)
    return rf"${mean} \pm {half}$"

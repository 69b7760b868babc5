"""Write the state machines' tables into docs/protocol.md, or check that they are there.

    python tools/protocol_tables.py          # after a change of a transitions.py
    python tools/protocol_tables.py --check  # in CI: exit code 1 if someone forgot

A table stands between two comments; what is between them is replaced.
"""

# ruff: noqa: INP001, T201 - a script

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mlpeft.cluster.coordinator import transitions as coordinator
from mlpeft.cluster.worker import transitions as worker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from enum import StrEnum

    from mlpeft.cluster.transitions import Table

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "protocol.md"


def cell(phase: StrEnum, following: frozenset[StrEnum] | None) -> str:
    """What an event does in a phase, in a word or two."""
    if following is None:
        return "error"
    if not following:
        return "ignored"
    after = sorted(following, key=list(type(phase)).index)
    return " or ".join("stays" if each is phase else each.value for each in after)


def rendered(table: Table[StrEnum], phases: Sequence[StrEnum]) -> str:
    """A table in Markdown: a row for each event, a column for each phase."""
    rows = [["event", *(phase.value for phase in phases)], ["---"] * (len(phases) + 1)]
    for event, legal in table.items():
        cells = [cell(phase, legal.get(phase)) for phase in phases]
        rows.append([f"`{event.__name__}`", *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def updated(text: str) -> str:
    """The document with the tables as they are in the code.

    Raises:
        SystemExit: If the document has no place for one of them.
    """
    tables = {
        "worker": rendered(worker.TABLE, list(worker.Phase)),
        "coordinator": rendered(coordinator.TABLE, list(coordinator.Phase)),
    }
    for name, table in tables.items():
        begin = f"<!-- events of the {name}: tools/protocol_tables.py -->"
        end = "<!-- end of table -->"
        place = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
        text, count = place.subn(lambda _: f"{begin}\n{table}\n{end}", text)  # noqa: B023
        if count != 1:
            raise SystemExit(f"expected {begin!r} and {end!r} once, found {count}")
    return text


def main(arguments: Sequence[str] | None = None, document: Path = DOCUMENT) -> int:
    """Command line; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing")
    check = parser.parse_args(arguments).check
    text = document.read_text()
    fresh = updated(text)
    if check and fresh != text:
        print(
            f"the tables in {document.name} are not those in the code: run "
            "tools/protocol_tables.py"
        )
        return 1
    if not check:
        document.write_text(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())

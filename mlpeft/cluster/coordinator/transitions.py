"""What the coordinator may take in, by phase. The phase follows from what it knows.

Whatever the network can do is legal in each phase. A round may end at any event that
changes who is there or what failed: when a shard has failed on everybody, it fails.
`tools/protocol_tables.py` writes this table into docs/protocol.md.
"""

from __future__ import annotations

from enum import StrEnum

from mlpeft.cluster.coordinator.messages import (
    DrainRequested,
    MessageReceived,
    PauseRequested,
    ReleaseRequested,
    ResumeRequested,
    RoundAbandoned,
    RoundOpened,
    RunEnded,
    ThetaMoved,
    UpdateMoved,
    UploadHeld,
    WorkerExpected,
    WorkerJoined,
    WorkerLeft,
)
from mlpeft.cluster.messages import TimePassed
from mlpeft.cluster.transitions import IGNORED, Table, Transitions, to


class Phase(StrEnum):
    """Where the coordinator is in its run."""

    WAITING = "between rounds"
    ROUND = "in a round"
    OVER = "at its end"


_STAYS = {
    Phase.WAITING: to(Phase.WAITING),
    Phase.ROUND: to(Phase.ROUND),
    Phase.OVER: IGNORED,
}
_MAY_END_ROUND = _STAYS | {Phase.ROUND: to(Phase.ROUND, Phase.WAITING)}

TABLE: Table[Phase] = {
    # The training loop.
    RoundOpened: {Phase.WAITING: to(Phase.ROUND)},
    RoundAbandoned: {
        Phase.WAITING: IGNORED,
        Phase.ROUND: to(Phase.WAITING),
        Phase.OVER: IGNORED,
    },
    RunEnded: {
        Phase.WAITING: to(Phase.OVER),
        Phase.ROUND: to(Phase.OVER),
        Phase.OVER: IGNORED,
    },
    # Workers. Whoever comes after the end is told so.
    WorkerExpected: _STAYS,
    WorkerJoined: _MAY_END_ROUND | {Phase.OVER: to(Phase.OVER)},
    WorkerLeft: _MAY_END_ROUND,
    MessageReceived: _MAY_END_ROUND,
    UploadHeld: _STAYS,
    ThetaMoved: _STAYS,
    UpdateMoved: _STAYS,
    # Operators.
    PauseRequested: _STAYS,
    ResumeRequested: _STAYS,
    DrainRequested: _MAY_END_ROUND,
    ReleaseRequested: _MAY_END_ROUND,
    # The clock.
    TimePassed: _MAY_END_ROUND,
}

TRANSITIONS = Transitions("the coordinator", TABLE)

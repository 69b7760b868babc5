"""What a worker may take in, by phase. All that decides legality is in this table.

- IDLE: the process is not up yet. Only a signal can come before `Started`.
- DIALLING: one dial is under way, and ends with CoordinatorJoined, StreamLost or
  JoinRefused; none while the machine is needed otherwise. A message that comes now is
  of a stream that is gone.
- WORKING: the stream is open; it ends with one StreamLost or JoinRefused.
- STOPPED: for ever. What comes was under way, and is ignored.

The computing thread has a life of its own: what it tells is taken in with or without a
stream. `tools/protocol_tables.py` writes this table into docs/protocol.md.
"""

from __future__ import annotations

from enum import StrEnum

from mlpeft.cluster import protocol
from mlpeft.cluster.messages import TimePassed
from mlpeft.cluster.transitions import IGNORED, Table, Transitions, to
from mlpeft.cluster.worker.messages import (
    CoordinatorJoined,
    JoinRefused,
    MachineFree,
    MachineNeeded,
    ProgressMade,
    ShardCancelled,
    ShardComputed,
    ShardFailed,
    Started,
    StopRequested,
    StreamLost,
)


class Phase(StrEnum):
    """Where a worker is in its life."""

    IDLE = "idle"
    DIALLING = "dialling"
    WORKING = "working"
    STOPPED = "stopped"


_MESSAGE = {
    Phase.DIALLING: IGNORED,
    Phase.WORKING: to(Phase.WORKING),
    Phase.STOPPED: IGNORED,
}
_OUTCOME = {
    Phase.DIALLING: to(Phase.DIALLING),
    Phase.WORKING: to(Phase.WORKING, Phase.STOPPED),
    Phase.STOPPED: IGNORED,
}

TABLE: Table[Phase] = {
    # The process.
    Started: {Phase.IDLE: to(Phase.DIALLING)},
    StopRequested: {
        Phase.IDLE: to(Phase.STOPPED),
        Phase.DIALLING: to(Phase.STOPPED),
        Phase.WORKING: to(Phase.WORKING, Phase.STOPPED),
        Phase.STOPPED: IGNORED,
    },
    MachineNeeded: {
        Phase.IDLE: to(Phase.IDLE),
        Phase.DIALLING: to(Phase.DIALLING),
        Phase.WORKING: to(Phase.WORKING),
        Phase.STOPPED: IGNORED,
    },
    MachineFree: {
        Phase.IDLE: to(Phase.IDLE),
        Phase.DIALLING: to(Phase.DIALLING),
        Phase.WORKING: to(Phase.WORKING),
        Phase.STOPPED: IGNORED,
    },
    TimePassed: {
        Phase.IDLE: IGNORED,
        Phase.DIALLING: IGNORED,
        Phase.WORKING: to(Phase.WORKING),
        Phase.STOPPED: IGNORED,
    },
    # The connection.
    CoordinatorJoined: {
        Phase.DIALLING: to(Phase.WORKING),
        Phase.STOPPED: IGNORED,
    },
    StreamLost: {
        Phase.DIALLING: to(Phase.DIALLING),
        Phase.WORKING: to(Phase.DIALLING, Phase.STOPPED),
        Phase.STOPPED: IGNORED,
    },
    JoinRefused: {
        Phase.DIALLING: to(Phase.STOPPED),
        Phase.WORKING: to(Phase.STOPPED),
        Phase.STOPPED: IGNORED,
    },
    # The coordinator's messages.
    protocol.Theta: _MESSAGE,
    protocol.Lease: _MESSAGE,
    protocol.LeaseRevocation: _MESSAGE,
    protocol.Notice: _MESSAGE,
    protocol.Drain: _MESSAGE | {Phase.WORKING: to(Phase.WORKING, Phase.STOPPED)},
    protocol.RunOver: _MESSAGE | {Phase.WORKING: to(Phase.DIALLING, Phase.STOPPED)},
    # The computing thread.
    ProgressMade: _OUTCOME | {Phase.WORKING: to(Phase.WORKING)},
    ShardComputed: _OUTCOME,
    ShardFailed: _OUTCOME,
    ShardCancelled: _OUTCOME,
}

TRANSITIONS = Transitions("the worker", TABLE)

"""What a log line of coordinator or worker is about: the keys of `log_lines`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlpeft.cluster.messages import LeaseKey


def about(worker: str, key: LeaseKey | None = None) -> dict[str, str | int]:
    """The `extra` of a log call.

    Args:
        worker: Name of a worker; "" for none.
        key: A lease, if the line is about one.
    """
    context: dict[str, str | int] = {"worker": worker} if worker else {}
    if key is not None:
        context |= {"round": key.round_id, "shard": key.shard, "attempt": key.attempt}
    return context

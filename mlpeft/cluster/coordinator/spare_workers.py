"""Says when a cluster has more workers than a meta-iteration has shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.errors import counted
from mlpeft.work import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.work import Shard


def spare_workers(workers: int, shards: Sequence[Shard]) -> str:
    """That some workers have nothing to do, and which key changes that; "": none.

    Validations are left out: their shards are many, and always as large.

    Args:
        workers: How many are connected.
        shards: Of the open round.
    """
    spare = workers - len(shards)
    if spare <= 0 or shards[0].kind is not Kind.TRAIN:
        return ""
    tasks, size = sum(len(shard.tasks) for shard in shards), len(shards[0].tasks)
    keys = []
    if size > 1:
        keys.append(f"lower compute.shard_size to {max(1, tasks // workers)}")
    if workers > tasks:
        keys.append(f"raise meta_learning.meta_batch_size to {workers}")
    have = "has" if spare == 1 else "have"
    return (
        f"{spare} of {workers} workers {have} nothing to do, since a meta-iteration is "
        f"{counted(len(shards), 'shard')} of {counted(size, 'task')}; for a new run "
        f"{' and '.join(keys)}"
    )

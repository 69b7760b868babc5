"""The page's contents as plain values: from what a source and a folder tell.

Pure: no IO, no clock. Keys are those that `static/dashboard.js` reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlpeft.cluster.overview import Bytes
from mlpeft.dashboard import attention
from mlpeft.files import size_text
from mlpeft.reporting.pace import clock_time, speed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mlpeft.cluster.overview import Overview
    from mlpeft.cluster.status import LeaseStatus, TransferStatus
    from mlpeft.config import RunConfig
    from mlpeft.dashboard.recorder import Departure
    from mlpeft.dashboard.run_folder import RunFolder
    from mlpeft.dashboard.timeline import Bar

MOST_LEFT = 12
"""Workers that left and are shown."""


def facts(config: RunConfig) -> list[list[str]]:
    """What is trained on what, as names and values."""
    meta, tasks, model = config.meta_learning, config.task_distribution, config.model
    method = config.peft.method if hasattr(config.peft, "method") else None
    ways = f"{tasks.num_classes}-way {tasks.k_shot}-shot "
    families = ", ".join(tasks.task_families)
    dataset = tasks.task_params.get("dataset") or tasks.task_params.get("path")
    rows = [
        ["algorithm", f"{meta.algorithm}, {meta.num_inner_steps} inner steps"],
        ["tasks", ways + families + (f" ({dataset})" if dataset else "")],
        [
            "meta-batch",
            f"{meta.meta_batch_size} task{'s' * (meta.meta_batch_size != 1)}",
        ],
        ["model", _model(model)],
    ]
    if method and str(method) != "none":
        rows.append(["method", str(method)])
    rows.append(["seed", str(config.run.seed)])
    return rows


def _model(model: Any) -> str:
    weights = getattr(model, "weights", None)
    return f"{model.backbone} ({weights})" if weights else str(model.backbone)


def run_of_cluster(overview: Overview, folder: RunFolder | None, now: float) -> Any:
    """The run's headline, of a running coordinator."""
    progress, cluster = overview.progress, overview.cluster
    state, level = "running", "good"
    if overview.stopping:
        state, level = "stopping after this round", "warning"
    elif cluster.paused:
        state, level = f"paused ({cluster.paused})", "warning"
    elif not cluster.workers:
        state, level = "waits for workers", "warning"
    done = progress.iterations and progress.iteration >= progress.iterations
    if done and not cluster.shards:
        state, level = "done", "done"
    return {
        "name": overview.run,
        "session": overview.session,
        "state": state,
        "level": level,
        "paused": bool(cluster.paused),
        "stopping": overview.stopping,
        "iteration": progress.iteration,
        "iterations": progress.iterations,
        "speed": speed(progress.per_second),
        "left": clock_time(progress.seconds_left),
        "counted": cluster.counted,
        "refused": cluster.refused,
        "backups": cluster.backups,
        "failed": sum(cluster.failures.values()),
        "shards": [cluster.shards_in, cluster.shards],
        "up": size_text(overview.bytes_moved.up),
        "down": size_text(overview.bytes_moved.down),
        "validation": progress.validation,
    } | (_measured(folder, progress.iteration, now) if folder else {})


def run_of_folder(folder: RunFolder, now: float) -> Any:
    """The run's headline, of a folder alone."""
    config, measured = folder.config, folder.measured
    total = config.meta_learning.num_meta_iterations if config else 0
    running = folder.is_running()
    rate = measured.speed.last if running else None
    left = (total - measured.iteration) / rate if rate else None
    state, level = "running", "good"
    if not running and total and measured.iteration >= total:
        state, level = "done", "done"
    elif not running:
        state, level = f"stopped after {measured.iteration}", "warning"
    return {
        "name": config.run.name if config else folder.name,
        "session": "",
        "state": state,
        "level": level,
        "paused": False,
        "stopping": False,
        "iteration": measured.iteration,
        "iterations": total,
        "speed": speed(rate) if running else "",
        "left": clock_time(left) if running else "",
        "validation": "",
    } | _measured(folder, measured.iteration, now, running=running)


def _measured(
    folder: RunFolder, iteration: int, now: float, *, running: bool = True
) -> dict[str, Any]:
    """What only the run's folder knows."""
    measured = folder.measured
    loss, best = measured.loss(), measured.best
    validations = measured.validations
    saved = folder.checkpoint()
    record: dict[str, Any] = {
        "facts": facts(folder.config) if folder.config else [],
        "loss": "" if loss is None else _number(loss[1].last),
        "loss_name": "" if loss is None else loss[0],
        "outer_lr": _number(measured.outer_lr.last),
        "checkpoint": None,
    }
    if validations:
        at, result, _ = validations[-1]
        record["validation"] = f"{result.final}"
        record["validation_at"] = at
        record["score_name"] = "loss" if result.acc is None else "accuracy"
    if best is not None:
        record["best"], record["best_at"] = best[1].final, best[0]
    if saved is not None:
        behind = max(0, iteration - saved[0])
        age = now - saved[1]
        record["checkpoint"] = {
            "at": saved[0],
            "age": f"{clock_time(age)} ago" if running else "",
            "risk": _risk(behind, age, running),
        }
    return record


def _risk(behind: int, age_s: float, running: bool) -> str:
    """What a power failure would cost now."""
    if not running:
        return f"{behind} meta-iterations since it are not saved" if behind else ""
    if behind == 0:
        return "a power failure now would cost nothing"
    return (
        f"a power failure now would cost {behind} meta-iterations ({age_s:.0f} s), "
        "computed again to the same bytes"
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def workers(overview: Overview, lost_after_s: float) -> dict[str, Any]:
    """A tile for each connected worker, by its connection."""
    cluster = overview.cluster
    by_worker: dict[str, list[LeaseStatus]] = {}
    for lease in cluster.leases:
        by_worker.setdefault(lease.worker_id, []).append(lease)
    backups = attention.backups_of(cluster)
    tiles: dict[str, Any] = {}
    for worker in cluster.workers:
        held = by_worker.get(worker.worker, [])
        found = attention.assess(worker, held, backups, cluster, lost_after_s)
        moved = overview.bytes_by_worker.get(worker.worker, Bytes())
        first = held[0] if held else None
        tiles[worker.worker] = {
            "name": worker.name,
            "device": worker.device,
            "state": worker.state,
            "level": int(found.level),
            "reason": found.reason,
            "speed": "" if not worker.task_s else _rate(1 / worker.task_s),
            "done": worker.shards_done,
            "failed": worker.failures,
            "up": size_text(moved.up),
            "down": size_text(moved.down),
            "lag": round(worker.silent_s) if worker.silent_s >= 2 else 0,
            "part": None if first is None else [first.tasks_done, first.tasks],
            "sending": _part(worker.sending),
            "receiving": _part(worker.receiving),
            "quarantined": bool(worker.quarantined),
            "draining": worker.draining,
        }
    return tiles


def _part(transfer: TransferStatus | None) -> float | None:
    if transfer is None:
        return None
    return round(transfer.done_bytes / max(transfer.total_bytes, 1), 2)


def _rate(per_second: float) -> str:
    digits = 0 if per_second >= 100 else 1 if per_second >= 10 else 2
    return f"{per_second:.{digits}f}"


def left(departures: Sequence[Departure], present: Iterable[str]) -> list[Any]:
    """Workers that left and did not come back, the newest first."""
    names, shown = set(present), []
    for departure in reversed(departures):
        if departure.name in names:
            continue
        names.add(departure.name)
        shown.append(
            {
                "worker": departure.worker,
                "name": departure.name,
                "device": departure.device,
                "time": departure.time,
                "reason": departure.reason,
                "done": departure.done,
            }
        )
    return shown[:MOST_LEFT]


def bars(changed: Iterable[Bar]) -> list[list[Any]]:
    """Bars as rows: id, worker, round, shard, attempt, times, backup, outcome."""
    return [
        [
            f"{bar.key.session}:{bar.key.round_id}:{bar.key.shard}:{bar.key.attempt}",
            bar.worker,
            bar.key.round_id,
            bar.key.shard,
            bar.key.attempt,
            round(bar.start, 3),
            None if bar.computing is None else round(bar.computing, 3),
            None if bar.sending is None else round(bar.sending, 3),
            None if bar.end is None else round(bar.end, 3),
            bar.backup,
            bar.outcome,
        ]
        for bar in changed
    ]


def runs(folders: Sequence[RunFolder]) -> list[Any]:
    """A row for each run that is compared."""
    rows = []
    for folder in folders:
        measured, config = folder.measured, folder.config
        loss, best = measured.loss(), measured.best
        rows.append(
            {
                "name": folder.name,
                "iteration": measured.iteration,
                "loss": "" if loss is None else _number(loss[1].last),
                "best": "" if best is None else best[1].final,
                "best_at": None if best is None else best[0],
                "facts": "" if config is None else _short(config),
            }
        )
    return rows


def _short(config: RunConfig) -> str:
    return ", ".join(value for _, value in facts(config)[:2])

"""A cluster on a stage: what a dashboard shows of it is chosen, not computed."""

import math
import random
import time
from dataclasses import replace

from mlpeft.cluster.overview import Bytes, Overview, RunProgress
from mlpeft.cluster.protocol import LeaseKey, WorkerId
from mlpeft.cluster.status import (
    ClusterStatus,
    LeaseStatus,
    TransferStatus,
    WorkerStatus,
)
from mlpeft.dashboard.recorder import Departure
from mlpeft.dashboard.sources import Look
from mlpeft.dashboard.timeline import Timeline

SESSION = "0123456789abcdef"


def worker(name, **changes):
    """A worker that is connected and idle."""
    plain = WorkerStatus(
        worker=WorkerId(f"{name}-1"),
        name=name,
        device="gpu (Apple M2)",
        slots=2,
        leases=0,
        shards_done=0,
        failures=0,
        task_s=0.11,
        silent_s=0.4,
        draining=False,
        quarantined="",
    )
    return replace(plain, **changes)


def lease(of, shard, round_id=412, **changes):
    """A shard that a worker computes."""
    plain = LeaseStatus(
        key=LeaseKey(SESSION, round_id, shard, 1),
        worker=of.name,
        worker_id=of.worker,
        held_s=0.3,
        tasks_done=0,
        tasks=4,
        stalled_s=0.1,
        left_s=20.0,
        slow=False,
        backup=False,
    )
    return replace(plain, **changes)


def overview(workers=(), leases=(), **changes):
    """A coordinator's picture; `changes` are of its ClusterStatus, or of it itself."""
    cluster = ClusterStatus(
        rounds_opened=412,
        version=411,
        shards_in=0,
        shards=4,
        workers=tuple(workers),
        leases=tuple(leases),
        wait="round 412: 3 of 4 shards are in; computing shard 3 on mac-07 for 9 s",
        counted=1630,
        refused=0,
        backups=2,
        failures={"lost": 1, "failed": 0, "refused": 0, "late": 0},
        paused="",
    )
    own = {k: changes.pop(k) for k in ("progress", "stopping", "run") if k in changes}
    return Overview(
        run=own.get("run", "intents"),
        session=SESSION,
        progress=own.get("progress", RunProgress(412, 1000, 4.2, 140.0, "")),
        stopping=own.get("stopping", False),
        bytes_moved=Bytes(412_000_000, 398_000_000),
        cluster=replace(cluster, **changes),
        bytes_by_worker={
            w.worker: Bytes(51_000_000, 49_000_000) for w in cluster.workers
        },
    )


class StagedCluster:
    """A source with a picture and a timeline that a test sets."""

    sampled = False

    def __init__(self, shown=None):
        self.shown = shown
        self.gone = ""
        self.timeline = Timeline()
        self.departures = []
        self.asked = []

    def look(self, since):
        return Look(
            self.shown,
            self.gone,
            tuple(self.timeline.changed_since(since)),
            self.timeline.number,
            tuple(self.departures),
        )

    def control(self, action, worker, who):
        self.asked.append((str(action), worker, who))
        return f"{action} {worker} is done".replace("  ", " ")


CHIPS = ("M1", "M2", "M2 Pro", "M3", "M3 Max", "M4")


def lab(count=8, seconds=40.0, seed=3, now=None):  # noqa: PLR0915 - a script
    """Rounds, a straggler with a backup, one worker lost, one quarantined."""
    rng = random.Random(seed)  # noqa: S311 - a stage
    now = now or time.time()
    names = [f"mac-{i + 1:02}" for i in range(count)]
    source = StagedCluster()
    line, clock = source.timeline, now - seconds
    done = dict.fromkeys(names, 900)
    pace = {name: rng.uniform(0.75, 1.3) for name in names}
    straggler = names[min(6, count - 1)]
    round_id = 380
    while True:
        ends = []
        for shard, name in enumerate(names[:-1]):
            key = LeaseKey(SESSION, round_id, shard, 1)
            theta = clock + 0.14
            slow = 2.6 if name == straggler and round_id % 5 == 0 else 1.0
            stop = theta + 1.15 * pace[name] * slow * rng.uniform(0.95, 1.07)
            ends.append((stop + 0.18, key, name, theta, stop))
        over = max(end for end, *_ in ends) + 0.1
        last = over > now - 1.0
        for end, key, name, theta, stop in sorted(ends):
            worker_id = WorkerId(f"{name}-1")
            bar = line.begin(worker_id, key, clock, theta=True, backup=False)
            bar.computing = theta
            if last and end > now - 1.0:
                continue
            bar.sending = stop
            line.end(key, end, "in")
            done[name] += 1
        if not last and round_id % 5 == 0:
            helper = LeaseKey(SESSION, round_id, 6, 2)
            line.begin(WorkerId(f"{names[1]}-1"), helper, clock + 1.9, backup=True)
            line.end(helper, over - 0.1, "revoked")
        if last:
            break
        clock, round_id = over, round_id + 1
    lost = LeaseKey(SESSION, round_id - 6, 7, 1)
    line.begin(WorkerId("mac-09-1"), lost, now - 17, backup=False)
    line.end(lost, now - 14.4, "lost")
    source.departures.append(
        Departure(
            WorkerId("mac-09-1"),
            "mac-09",
            "gpu (Apple M1)",
            now - 14.4,
            "the connection broke",
            118,
        )
    )
    members = []
    for index, name in enumerate(names):
        held = [bar for bar in line.open.values() if bar.worker == f"{name}-1"]
        members.append(
            worker(
                name,
                device=f"gpu (Apple {CHIPS[index % len(CHIPS)]})",
                shards_done=done[name],
                leases=len(held),
                task_s=0.28 * pace[name],
                silent_s=rng.uniform(0.1, 1.4),
            )
        )
    members[2] = replace(members[2], sending=TransferStatus(1_300_000, 2_100_000))
    members[-1] = replace(
        members[-1],
        quarantined="3 failed attempts in a row; gets shards again in 42 s",
        failures=3,
        leases=0,
    )
    leases = [
        lease(
            next(m for m in members if m.worker == bar.worker),
            bar.key.shard,
            bar.key.round_id,
            held_s=now - bar.start,
            tasks_done=rng.randint(0, 3),
        )
        for bar in line.open.values()
    ]
    slow = next(m for m in members if m.name == straggler)
    if slow.quarantined:
        slow = members[0]
    key = LeaseKey(SESSION, round_id, 6, 1)
    leases = [each for each in leases if each.key != key]
    leases.append(lease(slow, 6, round_id, held_s=9.2, tasks_done=1, slow=True))
    helper = LeaseKey(SESSION, round_id, 6, 2)
    line.begin(members[1].worker, helper, now - 1.2, backup=True)
    leases.append(replace(lease(members[1], 6, round_id, backup=True), key=helper))
    source.shown = overview(
        members,
        leases,
        shards_in=len(names) - 2,
        shards=len(names) - 1,
        wait=f"round {round_id}: {len(names) - 2} of {len(names) - 1} shards are in; "
        f"computing shard 6 on {slow.name} for 9 s (slow)",
    )
    return source


def go_on(source, by=1):
    """Let a staged cluster go on."""
    progress = source.shown.progress
    progress = replace(progress, iteration=progress.iteration + by)
    source.shown = replace(source.shown, progress=progress)


def write_run(folder, iterations=1000, every=100, seed=0, floor=0.05):
    """A run's folder with plausible metrics and its configuration."""
    import json

    from mlpeft.config import RunConfig

    rng = random.Random(seed)  # noqa: S311 - a stage
    folder.mkdir(parents=True, exist_ok=True)
    config = RunConfig.from_dict(
        {
            "run": {"name": folder.name, "seed": seed},
            "meta_learning": {"num_meta_iterations": iterations},
            "task_distribution": {"num_classes": 5, "k_shot": 1},
        }
    )
    (folder / "config.yaml").write_text(config.to_yaml())
    began = time.time() - iterations * 0.24
    with (folder / "metrics.jsonl").open("w") as file:
        for i in range(iterations + 1):
            slow = (
                math.sin(i / 90) + 0.6 * math.sin(i / 37 + 1) + 0.8 * math.sin(i / 251)
            )
            at = began + (i + 9 * slow) * 0.24
            if i % every == 0:
                skill = 1 - math.exp(-i / iterations * 4)
                top = [0.2 + (0.72 * skill) * s for s in (0.02, 0.62, 0.9, 1.0)]
                acc = [min(0.97, a + rng.uniform(-0.01, 0.01)) for a in top]
                record = {
                    "kind": "validate",
                    "iteration": i,
                    "steps": [0, 1, 5, 10],
                    "episodes": 100,
                    "acc": acc,
                    "acc_ci95": [0.022, 0.02, 0.016, 0.014],
                    "loss": [1.6 - a for a in acc],
                    "loss_ci95": [0.05, 0.04, 0.03, 0.03],
                    "time": at,
                }
                file.write(json.dumps(record) + "\n")
            if i:
                loss = floor + 1.5 * math.exp(-5 * i / iterations)
                loss *= math.exp(rng.gauss(0, 0.18))
                record = {
                    "kind": "train",
                    "iteration": i,
                    "support_loss": loss * 0.8,
                    "query_loss": loss,
                    "param_diff": 0.1,
                    "outer_lr": 1.0 - 0.9 * i / iterations,
                    "time": at,
                }
                file.write(json.dumps(record) + "\n")
    step = folder / "steps" / f"{iterations - 12:08}"
    step.mkdir(parents=True, exist_ok=True)
    (step / "state.json").write_text("{}")
    return folder


def write_log(folder, now=None):
    """The log of a run, with what happens in a lab."""
    import json

    now = now or time.time()
    lines = [
        (-38.0, "INFO", "mac-09", "worker mac-09 joined (9 connected)"),
        (-31.4, "INFO", "", "5200/8000: accuracy 89.1 ± 1.4 % after 10 steps"),
        (
            -26.0,
            "INFO",
            "mac-02",
            "round 385 shard 6: a backup on mac-02, as mac-07 is slow",
        ),
        (
            -14.4,
            "WARNING",
            "mac-09",
            "worker mac-09 left: the connection broke; 8 connected",
        ),
        (
            -14.4,
            "WARNING",
            "mac-09",
            "round 394 shard 7 attempt 1 on mac-09 is lost; it is leased again",
        ),
        (
            -9.0,
            "WARNING",
            "mac-08",
            "mac-08 gets no shards for 60 s: 3 failed attempts in a row",
        ),
        (
            -1.2,
            "INFO",
            "mac-02",
            "round 400 shard 6: a backup on mac-02, as mac-07 is slow",
        ),
    ]
    path = folder / "intents.jsonl"
    with path.open("w") as file:
        for ago, level, name, text in lines:
            record = {"time": now + ago, "level": level, "logger": "mlpeft.coordinator"}
            record |= {"text": text, "worker": name} if name else {"text": text}
            file.write(json.dumps(record) + "\n")
    return path

"""What do rounds that need not wait gain, and what do they cost?

    python -m benchmarks.modes stragglers            # loss against time: minutes
    python -m benchmarks.modes stragglers --problem omniglot --out FOLDER
    python -m benchmarks.modes stragglers --problem lora --out FOLDER
    python -m benchmarks.modes goodput               # a minute

Both run the real coordinator and workers on the simulator's virtual clock, so that a
busy machine changes no figure.

stragglers: real meta-training (benchmarks/mode_trainings.py) on four workers, of which
some take ten times as long for each task. A task takes 0.3 to 0.4 virtual seconds
whatever it computes. The table has seconds of a round, goodput, loss or accuracy on
validation tasks by the virtual time at which theta was reached, and its difference to
sync at the last of these times, paired by seed; means over seeds with Student's 95 %
interval. With --out what is done is kept, and not done again.

goodput: useful task seconds / worker seconds. Processes crash, freeze, hang, are
drained and lose their connections, the coordinator restarts; a task takes 0.35 s on
average, and now and then thirty times as long.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from benchmarks.mode_trainings import MODES, PROBLEMS, SHARDS, Training, config
from mlpeft.cluster.policy import Policy, shards_needed
from mlpeft.cluster.sim import QUIET, Faults, Simulation, toy_shards
from mlpeft.evaluation.over_seeds import seed_interval
from mlpeft.meta.algorithms import ALGORITHMS
from mlpeft.training.runner import ShardRunner, result_schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.config import RunConfig

WORKERS, SEEDS = 4, 3
BASE = "sync"
"""The mode that others are compared with."""
ROUGH = Faults(
    lie=0,
    fail=0,
    slow=0.01,
    drops=20,
    crashes=20,
    freezes=20,
    hangs=10,
    drains=6,
    pauses=0,
    restarts=3,
    horizon_s=300.0,
)


def simulated(
    run: RunConfig, rounds: int, faults: Faults, work: Training | None = None
) -> Simulation:
    """A run to its end."""
    policy = Policy.from_config(
        run.cluster,
        displacement=ALGORITHMS[run.meta_learning.algorithm].displacement,
        ordered_sum=True,
        results=None if work is None else result_schema(run),
    )
    offered = 2 * SHARDS if run.cluster.mode == "async" else SHARDS
    simulation = Simulation(
        run.run.seed,
        workers=WORKERS,
        rounds=rounds,
        shards=offered,
        faults=faults,
        policy=replace(policy, lease_s=60.0, min_workers=WORKERS),
        need=shards_needed(run.cluster, toy_shards(0, offered)),
        work=work,
    )
    simulation.finish(most_s=1e5)
    return simulation


# --- stragglers -----------------------------------------------------------------------


@dataclass(frozen=True)
class Course:
    """How a training went.

    Attributes:
        round_s: Virtual seconds of a round, on average.
        goodput: Share of the workers' time that counted.
        late: Share of the updates that counted late.
        scores: Losses or accuracies at the problem's times.
    """

    round_s: float
    goodput: float
    late: float
    scores: Sequence[float]

    @classmethod
    def of(cls, runner: ShardRunner, run: RunConfig, problem: str, slow: int) -> Self:
        """That of a run with so many stragglers."""
        times_s = PROBLEMS[problem].times_s
        work = Training(runner, spare=run.cluster.mode == "async")
        faults = replace(QUIET, stragglers=slow)
        pilot = simulated(run, 30, faults)
        rounds = int(1.1 * times_s[-1] / (pilot.seconds / 30)) + 1
        simulation = simulated(run, rounds, faults, work)
        done_at = np.array(simulation.completed_at)
        scores = []
        for at in times_s:
            reached = int(np.searchsorted(done_at, at, side="right"))
            scores.append(work.score(simulation.metas[reached]))
        late, counted = counted_late([simulation])
        round_s = float(done_at[-1] / rounds)
        return cls(round_s, simulation.goodput, late / counted, scores)


def counted_late(runs: Sequence[Simulation]) -> tuple[int, int]:
    """Updates that counted late, and all that counted."""
    accepted = [each for run in runs for each in run.accepted]
    late = sum(len(each.late) for each in accepted)
    return late, late + sum(len(each.shards) for each in accepted)


def courses(
    problem: str, modes: Sequence[str], seeds: int, slow: int, out: Path | None
) -> dict[str, list[Course]]:
    """All trainings by mode, seed after seed: modes of a seed share what is cached."""
    found: dict[str, list[Course]] = {mode: [] for mode in modes}
    for seed in range(seeds):
        runner: ShardRunner | None = None
        for mode in modes:
            words = mode.replace(",", "").replace(" ", "-")
            name = f"{problem}-{words}-{slow}-{seed}.json"
            file = None if out is None else out / name
            if file is not None and file.is_file():
                found[mode].append(Course(**json.loads(file.read_text())))
                continue
            run = config(problem, mode, seed)
            runner = runner or ShardRunner.from_config(run)
            course = Course.of(runner, run, problem, slow)
            print(f"{name}: {course}", file=sys.stderr, flush=True)
            found[mode].append(course)
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps(asdict(course)))
    return found


def stragglers(
    problem: str, modes: Sequence[str], seeds: int, slow: int, out: Path | None
) -> None:
    """The table of losses or accuracies by time."""
    times_s, word = PROBLEMS[problem].times_s, PROBLEMS[problem].score
    found = courses(problem, modes, seeds, slow, out)
    heads = " | ".join(f"{word} at {at} s" for at in times_s)
    print(f"| {problem} | s a round | goodput | late | {heads} | beside {BASE} |")
    print("| --- " * (5 + len(times_s)) + "|")
    base = found.get(BASE)
    for mode, each in found.items():
        by_time = zip(*(course.scores for course in each), strict=True)
        shown = " | ".join(interval(scores) for scores in by_time)
        beside = ""
        if base is not None and mode != BASE:
            pairs = zip(each, base, strict=True)
            gains = [ours.scores[-1] - theirs.scores[-1] for ours, theirs in pairs]
            beside = interval(gains, sign="+")
        print(
            f"| {mode} | {statistics.mean(course.round_s for course in each):.2f} | "
            f"{statistics.mean(course.goodput for course in each):.0%} | "
            f"{statistics.mean(course.late for course in each):.0%} | {shown} | "
            f"{beside} |",
            flush=True,
        )


def interval(values: Sequence[float], sign: str = "") -> str:
    """Mean and half width of its interval."""
    mean, half = seed_interval(values)
    return f"{mean:{sign}.3f} ± {half:.3f}"


# --- goodput --------------------------------------------------------------------------


def goodput(modes: Sequence[str], seeds: int) -> None:
    """The table of goodput under faults."""
    print("| mode | goodput | s a round | counted late |")
    print("| --- " * 4 + "|")
    for mode in modes:
        runs = [
            simulated(config("sinusoid", mode, seed), 150, ROUGH)
            for seed in range(seeds)
        ]
        mean, half = seed_interval([100 * run.goodput for run in runs])
        late, counted = counted_late(runs)
        seconds = statistics.mean(run.seconds / 150 for run in runs)
        print(
            f"| {mode} | {mean:.0f} ± {half:.0f} % | {seconds:.2f} | "
            f"{late / counted:.0%} |",
            flush=True,
        )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=("stragglers", "goodput"))
    parser.add_argument("--problem", choices=PROBLEMS, default="sinusoid")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--slow", type=int, default=1, help="stragglers of four")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--out", type=Path, help="keeps what is done")
    arguments = parser.parse_args()
    modes = arguments.modes
    if arguments.table == "goodput":
        goodput(modes, arguments.seeds or 10)
    else:
        stragglers(
            arguments.problem,
            modes,
            arguments.seeds or SEEDS,
            arguments.slow,
            arguments.out,
        )


if __name__ == "__main__":
    main()

"""What do rounds that need not wait gain, and what do they cost?

    python -m benchmarks.modes stragglers            # minutes: loss against time
    python -m benchmarks.modes goodput               # a minute

Both run the real coordinator and workers on the simulator's virtual clock, so that a
busy machine changes no figure.

stragglers: real meta-training of sinusoids (as configs/sinusoid.yaml, eight shards of
one task a round) on four workers, of which some take ten times as long for each task.
A task takes 0.3 to 0.4 virtual seconds. The table has seconds of a round, goodput, and
the loss on 200 validation tasks by the virtual time at which theta was reached, as
means over seeds.

goodput: useful task seconds / worker seconds. Processes crash, freeze, hang, are
drained and lose their connections, the coordinator restarts; a task takes 0.35 s on
average, and now and then thirty times as long.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mlpeft.cluster.policy import Policy, shards_needed
from mlpeft.cluster.sim import QUIET, Faults, Simulation, toy_shards
from mlpeft.config import RunConfig
from mlpeft.evaluation.over_seeds import seed_interval
from mlpeft.late_updates import with_late
from mlpeft.results import EvalResult
from mlpeft.training.executor import LocalExecutor
from mlpeft.training.loop import moved_by
from mlpeft.training.plan import train_shards, validation_shards
from mlpeft.training.run_folder import outer_step
from mlpeft.training.runner import ShardRunner, result_schema
from mlpeft.work import Displacement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlpeft.params import ParamTree
    from mlpeft.work import RoundResult, Shard, ShardUpdate

WORKERS, SHARDS, SEEDS = 4, 8, 3
TIMES_S = (25, 50, 100, 200)
"""Virtual seconds at which losses are compared."""
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
MODES = {
    "sync, no backups": {"mode": "sync", "backup_factor": 0.0},
    "sync": {"mode": "sync"},
    "quorum 0.75, grace 0.5 s": {"mode": "quorum"},
    "quorum 0.5, grace 0": {"mode": "quorum", "quorum": 0.5, "grace_s": 0.0},
    "async": {"mode": "async"},
}


def config(mode: str, seed: int) -> RunConfig:
    """Sinusoids, with the keys of a mode."""
    return RunConfig.from_dict(
        {
            "run": {"seed": seed},
            "meta_learning": {
                "meta_batch_size": SHARDS,
                "num_meta_iterations": 10_000,
                "inner_lr": 0.01,
                "num_inner_steps": 4,
                "algorithm": "fomaml",
                "outer_optimizer": "adam",
                "outer_lr": 3e-3,
            },
            "task_distribution": {
                "task_families": ["sinusoid"],
                "num_classes": 1,
                "k_shot": 10,
                "query_size": 50,
                "train_query_size": 10,
                "num_train_tasks": None,
                "num_val_tasks": None,
                "num_test_tasks": None,
            },
            "model": {"backbone": "tanh", "hidden_dim": 64},
            "evaluation": {
                "num_val_episodes": 200,
                "num_inner_steps": 32,
                "steps": [32],
            },
            "compute": {"shard_size": 1, "strategy": "compiled"},
            "cluster": {"max_attempts": 10_000, "norm_factor": 0.0} | MODES[mode],
        }
    )


class Sinusoids:
    """A meta-training as what a simulated cluster computes.

    Args:
        run: Its configuration.
    """

    def __init__(self, run: RunConfig) -> None:
        self.runner = ShardRunner.from_config(run)
        self._config = self.runner.config
        self._outer = outer_step(self._config)
        self._spare = run.cluster.mode == "async"

    def start(self) -> ParamTree:
        """See `mlpeft.cluster.sim.toy.Work`."""
        return self.runner.initial_meta()

    def shards(self, number: int) -> tuple[Shard, ...]:
        """See `mlpeft.cluster.sim.toy.Work`."""
        tasks = self.runner.tasks
        return tuple(train_shards(self._config, tasks, number, spare=self._spare))

    def update(self, meta: ParamTree, shard: Shard) -> ShardUpdate:
        """See `mlpeft.cluster.sim.toy.Work`."""
        return self.runner.run(meta, shard)

    def step(
        self, metas: Mapping[int, ParamTree], version: int, result: RoundResult
    ) -> ParamTree:
        """See `mlpeft.cluster.sim.toy.Work`."""
        joined = with_late(result, metas, version, Displacement.AS_IT_IS)
        meta: ParamTree = moved_by(
            self._outer, self._config, dict(metas[version]), joined, version
        ).meta
        return meta

    def loss(self, meta: ParamTree) -> float:
        """On the validation tasks, after all inner steps."""
        shards = validation_shards(self._config, self.runner.tasks, 0)
        done = LocalExecutor(self.runner).run(0, meta, shards)
        return EvalResult.from_round(self.runner.steps, done).loss[-1]


def simulated(
    mode: str, seed: int, rounds: int, faults: Faults, work: Sinusoids | None = None
) -> Simulation:
    """A run of a mode to its end."""
    run = config(mode, seed)
    policy = Policy.from_config(
        run.cluster,
        displacement=Displacement.AS_IT_IS,
        ordered_sum=True,
        results=None if work is None else result_schema(run),
    )
    offered = 2 * SHARDS if run.cluster.mode == "async" else SHARDS
    simulation = Simulation(
        seed,
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


def stragglers(modes: list[str], seeds: int, slow: int) -> None:
    """The table of losses by time."""
    heads = " | ".join(f"loss at {at} s" for at in TIMES_S)
    print(f"| mode | stragglers of {WORKERS} | s a round | goodput | late | {heads} |")
    print("| --- " * (5 + len(TIMES_S)) + "|")
    for mode in modes:
        losses: list[list[float]] = [[] for _ in TIMES_S]
        round_s, goodputs, late, counted = [], [], 0, 0
        for seed in range(seeds):
            work = Sinusoids(config(mode, seed))
            faults = replace(QUIET, stragglers=slow)
            pilot = simulated(mode, seed, 30, faults)
            rounds = int(1.1 * TIMES_S[-1] / (pilot.seconds / 30)) + 1
            simulation = simulated(mode, seed, rounds, faults, work)
            done_at = np.array(simulation.completed_at)
            round_s.append(done_at[-1] / rounds)
            goodputs.append(simulation.goodput)
            late += sum(len(each.late) for each in simulation.accepted)
            counted += sum(
                len(each.late) + len(each.shards) for each in simulation.accepted
            )
            for place, at in enumerate(TIMES_S):
                reached = int(np.searchsorted(done_at, at, side="right"))
                losses[place].append(work.loss(simulation.metas[reached]))
        shown = " | ".join(
            "{:.3f} ± {:.3f}".format(*seed_interval(values)) for values in losses
        )
        print(
            f"| {mode} | {slow} | {statistics.mean(round_s):.2f} | "
            f"{statistics.mean(goodputs):.0%} | {late / counted:.0%} | {shown} |",
            flush=True,
        )


def goodput(modes: list[str], seeds: int) -> None:
    """The table of goodput under faults."""
    print("| mode | goodput | s a round | counted late |")
    print("| --- " * 4 + "|")
    for mode in modes:
        runs = [simulated(mode, seed, 150, ROUGH) for seed in range(seeds)]
        mean, half = seed_interval([100 * run.goodput for run in runs])
        accepted = [each for run in runs for each in run.accepted]
        late = sum(len(each.late) for each in accepted)
        counted = late + sum(len(each.shards) for each in accepted)
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
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--slow", type=int, default=1, help="stragglers of four")
    parser.add_argument("--mode", choices=MODES, help="a single row")
    arguments = parser.parse_args()
    modes = [arguments.mode] if arguments.mode else list(MODES)
    if arguments.table == "goodput":
        goodput(modes, arguments.seeds or 10)
    else:
        stragglers(modes, arguments.seeds or SEEDS, arguments.slow)


if __name__ == "__main__":
    main()

"""What does a bound on an identity's share of a round cost, and what does it prevent?

    python -m benchmarks.shares                 # a table, a few seconds

Simulated clusters (virtual time): one fast machine and three others that are so many
times as slow, rounds of 16 shards. The coordinator cannot know whether the fast one
computes or answers at once with a lie.
"""

from __future__ import annotations

from dataclasses import replace

from mlpeft.cluster.sim import QUIET, Simulation
from mlpeft.cluster.sim.simulation import PATIENT

ROUNDS, SHARDS, SEEDS = 30, 16, 3
BOUNDS = (1.0, 0.75, 0.5, 0.25)


def measure(bound: float, slow: int) -> tuple[float, float]:
    """Seconds of a round, and the share of the fast machine's updates.

    Args:
        bound: `cluster.most_share`.
        slow: How many of the four machines take ten times as long.
    """
    seconds = fast = counted = 0.0
    for seed in range(SEEDS):
        simulation = Simulation(
            seed,
            workers=4,
            rounds=ROUNDS,
            shards=SHARDS,
            faults=replace(QUIET, stragglers=slow),
            policy=replace(PATIENT, most_share=bound, lease_s=600.0, min_workers=4),
        )
        simulation.run()
        shards = simulation.shards_done
        seconds += simulation.seconds
        counted += sum(shards.values())
        fast += shards["w3"]
    return seconds / (SEEDS * ROUNDS), fast / counted


def main() -> None:
    """Print the table."""
    print(
        "| cluster.most_share | machines | seconds of a round | share of the fastest |"
    )
    print("| --- | --- | --- | --- |")
    for slow, machines in ((0, "alike"), (3, "three ten times as slow")):
        for bound in BOUNDS:
            seconds, share = measure(bound, slow)
            print(f"| {bound:g} | {machines} | {seconds:.2f} | {share:.0%} |")


if __name__ == "__main__":
    main()

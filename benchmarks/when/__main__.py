"""Does meta-learning pay? Joint training beside it, at equal compute.

On each problem every method computes as many gradients of tasks, of as many examples
each. Step sizes and inner steps of training are chosen on validation tasks with the
first seed, step sizes of adaptation with each seed, for each number of steps. All
methods are scored on the same test episodes, after at most so many
steps: who does better with fewer takes fewer. Whatever is done is kept under --out, so
the command goes on where it was stopped, or killed.

    python -m benchmarks.when                       # everything; hours
    python -m benchmarks.when sinusoids digits      # these problems
    python -m benchmarks.when --table               # what is there by now
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.when.laboratory import Laboratory
from benchmarks.when.methods import METHODS
from benchmarks.when.problems import PROBLEMS
from benchmarks.when.table import SEEDS, markdown


def main() -> None:
    """Make what is missing, and print all that is there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "problems", nargs="*", metavar="PROBLEM", help=f"{', '.join(PROBLEMS)}; all"
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--out", type=Path, default=Path("results/when"))
    parser.add_argument("--table", action="store_true", help="print, compute nothing")
    args = parser.parse_args()
    unknown = sorted(set(args.problems) - set(PROBLEMS))
    if unknown:
        parser.error(f"no problem {unknown[0]!r}; there are {', '.join(PROBLEMS)}")
    problems = args.problems or list(PROBLEMS)
    if not args.table:
        for problem in problems:
            laboratory = Laboratory(problem, args.out)
            for seed in args.seeds:
                for name in args.methods:
                    laboratory.row(METHODS[name], seed)
    print(markdown(args.out, problems))


if __name__ == "__main__":
    main()

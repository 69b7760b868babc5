"""Measure the published rows: ours beside the paper's.

    python -m benchmarks.reproduce                                # lists the rows
    python -m benchmarks.reproduce reptile_omniglot_5way_1shot    # trains, then tests
    python -m benchmarks.reproduce "reptile_omniglot_5way*" --seeds 3

`make reproduce ROW=NAME SEEDS=3` is the same. A training takes as many meta-iterations
as the paper's unless --iterations shortens it (its schedule with it). Ctrl-C saves; the
same command goes on, and what is scored is kept. --run scores the newest step of a run
that was trained elsewhere, or is still under way.

Intervals are over seeds (Student's), or for a single training over its test episodes.
"""

from __future__ import annotations

import argparse
import fnmatch
import math
import platform
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.paper_rows import ROWS, training_name
from mlpeft.commands.entry import run as run_command
from mlpeft.commands.progress import progress_bar
from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError, nearest
from mlpeft.evaluation.over_seeds import seed_interval
from mlpeft.evaluation.trials import StoppedError, score_step, train_whole
from mlpeft.launch import INTERRUPTED
from mlpeft.platform import prepare
from mlpeft.platform.process import asked_to_stop
from mlpeft.reporting import build_reporters, setup_logger
from mlpeft.results import number
from mlpeft.training import checkpoint
from mlpeft.training.run_folder import identity
from mlpeft.training.trained import load_trained

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.paper_rows import Row
    from mlpeft.results import EvalResult

ROOT = Path(__file__).resolve().parents[1]
HEADER = ("row", "ours", "paper", "meta-iterations", "seeds", "test episodes")


@dataclass(frozen=True, slots=True)
class Measured:
    """What a row came to.

    Attributes:
        row: The row.
        results: Test scores of one training per seed.
        iterations: Meta-iterations of the trainings.
        planned: Meta-iterations of the paper's.
    """

    row: Row
    results: tuple[EvalResult, ...]
    iterations: int
    planned: int

    @property
    def ours(self) -> str:
        """Mean and interval, in percent, or as a loss."""
        last = self.results[0]
        if last.acc is None:
            values, digits = [result.loss[-1] for result in self.results], 4
            over_episodes = last.loss_ci95[-1]
        else:
            accs = (result.acc for result in self.results if result.acc is not None)
            values, digits = [100 * acc[-1] for acc in accs], 2
            over_episodes = 100 * (last.acc_ci95 or (math.nan,))[-1]
        mean, half_width = seed_interval(values)
        if len(values) == 1:
            half_width = over_episodes
        return number(mean, half_width, digits)

    def cells(self) -> tuple[str, ...]:
        """The cells of `HEADER`."""
        paper = "curve" if self.row.source else "none"
        if self.row.paper is not None:
            paper = f"{self.row.paper:.2f}"
        return (
            self.row.name,
            self.ours,
            paper,
            f"{self.iterations:,} of {self.planned:,}",
            str(len(self.results)),
            f"{self.results[0].episodes:,}",
        )


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, its rows looked up."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reproduce",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help="a name, or a pattern")
    parser.add_argument("--seeds", type=_positive, default=1, help="trainings per row")
    parser.add_argument(
        "--iterations", type=_positive, help="meta-iterations (the paper's)"
    )
    parser.add_argument(
        "--episodes", type=_positive, help="test episodes (the configuration's)"
    )
    parser.add_argument("--run", type=Path, help="score this run; train nothing")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the training",
    )
    parser.add_argument("--out", type=Path, default=Path("checkpoints/paper"))
    args = parser.parse_args(words)
    args.rows = select(args.rows)
    return args


def select(patterns: Sequence[str]) -> list[Row]:
    """The rows with these names.

    Raises:
        ConfigError: If a pattern fits none.
    """
    chosen: dict[str, Row] = {}
    for pattern in patterns:
        names = fnmatch.filter(ROWS, pattern)
        if not names:
            raise ConfigError(f"no row {pattern!r}; {nearest(pattern, ROWS)}")
        chosen |= {name: ROWS[name] for name in names}
    return list(chosen.values())


def main() -> None:
    """List the rows, or measure some."""
    args = parse()
    if not args.rows:
        for row in ROWS.values():
            paper = "a curve" if row.source else "none"
            if row.paper is not None:
                paper = f"{row.paper:.2f} %"
            print(f"{row.name:42} {paper:>8}  {row.about}")
        return
    prepare()
    setup_logger("mlpeft")
    print("| " + " | ".join(HEADER) + " |")
    print("| --- " + "| ---: " * (len(HEADER) - 1) + "|", flush=True)
    try:
        with asked_to_stop() as should_stop:
            for row in args.rows:
                measured = measure(row, args, should_stop)
                print("| " + " | ".join(measured.cells()) + " |", flush=True)
    except (StoppedError, KeyboardInterrupt) as error:
        print(str(error) or "ended at once; what was saved stands", file=sys.stderr)
        sys.exit(INTERRUPTED)
    print(f"\n{provenance()}")


def measure(
    row: Row, args: argparse.Namespace, should_stop: Callable[[], bool]
) -> Measured:
    """Train a row and test it, as far as that is not done.

    Raises:
        StoppedError: If asked to stop.
    """
    planned = RunConfig.load(row.file).meta_learning.num_meta_iterations
    if args.run:
        _check_run(args.run, row)
    runs = [args.run] if args.run else _train(row, args, should_stop)
    results, iterations = [], planned
    for run_dir in runs:
        # The last step, as in the papers: none of them chooses by validation.
        newest, _ = checkpoint.newest(run_dir)
        if newest is None:
            raise ConfigError(f"--run: no step of a run in {run_dir.absolute()}")
        iterations = min(iterations, newest.progress.iteration)
        file = args.out / "scores" / f"{run_dir.name}_{row.name}.json"
        results.append(_score(newest.path, file, row, args.episodes))
    return Measured(row, tuple(results), iterations, planned)


def _train(
    row: Row, args: argparse.Namespace, should_stop: Callable[[], bool]
) -> list[Path]:
    """The folders of a row's trainings, one per seed."""
    changes = list(args.set)
    if args.iterations:
        changes.append(f"meta_learning.num_meta_iterations={args.iterations}")
    name = training_name(row, changes)
    base = RunConfig.load(row.file, [*row.training, *changes])
    folders = []
    for seed in range(args.seeds):
        config = base.with_changes(
            run={"name": f"{name}_seed{seed}", "seed": seed},
            paths={"checkpoint_dir": args.out},
        )
        # Lines of a training go to standard error, and the table to standard output.
        training = train_whole(config, build_reporters(config), should_stop)
        if training.failure:
            raise ConfigError(f"{config.run.name} failed: {training.failure}")
        folders.append(training.run_dir)
    return folders


def _check_run(run_dir: Path, row: Row) -> None:
    """Refuse a run of another row.

    Raises:
        ConfigError: Naming the keys that differ.
    """
    trained = identity(load_trained(run_dir).config)
    wanted = identity(RunConfig.load(row.file, row.training))
    other = [
        f"{key} is {trained[key]}, not {value}"
        for key, value in wanted.items()
        if key.startswith(("task_distribution.", "model.", "meta_learning.algorithm"))
        and trained.get(key) != value
    ]
    if other:
        raise ConfigError(f"--run {run_dir}: not of {row.name}: {'; '.join(other)}")


def _score(step: Path, file: Path, row: Row, episodes: int | None) -> EvalResult:
    total = episodes or RunConfig.load(row.file).evaluation.num_test_episodes
    with progress_bar(row.name, total, "episodes") as advance:
        return score_step(step, file, row.test, episodes, advance)


def provenance() -> str:
    """Commit, machine and date, for the record."""
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    commit = git.stdout.strip() or "unknown"
    today = datetime.now(UTC).date().isoformat()
    return f"commit {commit}, {_processor()}, {today}"


def _processor() -> str:
    """The processor's name, as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {number}")
    return number


if __name__ == "__main__":
    run_command(main)

"""`mlpeft demo`: a coordinator and two workers meta-learn handwritten digits."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlpeft.errors import MlpeftError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlpeft.config import RunConfig

WORKERS = ("worker-1", "worker-2")
END_S = 20.0
"""How long a worker has to notice that the run is over."""


def demo(
    output: Annotated[
        Path, typer.Option(help="Folder for the run and its pictures.")
    ] = Path("demo"),
    episodes: Annotated[
        int, typer.Option(min=2, help="Test episodes for each comparison.")
    ] = 400,
) -> None:
    """Meta-learn handwritten digits on a cluster of two workers, and show the gain.

    Real digits, real processes, real sockets (loopback). At the end the meta-learned
    start and a fresh one learn digits that training has never seen, from 1 to 10
    examples a class.
    """
    from mlpeft.commands.compare import compare
    from mlpeft.commands.plot import draw
    from mlpeft.config import RunConfig, parse_yaml
    from mlpeft.tasks.families.digits import TEST_DIGITS

    output.mkdir(parents=True, exist_ok=True)
    text = resources.files("mlpeft.commands").joinpath("demo.yaml").read_text("utf-8")
    config = RunConfig.from_dict(
        parse_yaml(text),
        [f"paths.checkpoint_dir={output}", f"logging.log_dir={output}"],
    )
    file = output / "demo.yaml"
    file.write_text(config.to_yaml(), encoding="utf-8")
    run_dir = output / config.run.name
    shutil.rmtree(run_dir, ignore_errors=True)
    _explain(config)
    _train(file, output)
    held_back = ", ".join(map(str, TEST_DIGITS))
    typer.echo(f"\nLearning digits that training never saw ({held_back}):\n")
    compare(checkpoint=run_dir, episodes=episodes)
    draw(run_dir, run_dir, besides={"comparison.png"})
    path = _report(run_dir)
    typer.echo(
        f"\nA report of all this:           {path.absolute().as_uri()}"
        f"\nThe same bytes on one machine:  mlpeft train --config {file} --set "
        "run.name=alone"
        f"\nOn this demo's cluster:         mlpeft-coordinator --config {file}"
        "\n                                mlpeft-worker        (on each Mac)"
    )


def _report(run_dir: Path) -> Path:
    """Write the report of the run; its file."""
    from mlpeft.commands.report import NAME, write
    from mlpeft.dashboard.run_folder import RunFolder

    folder = RunFolder(run_dir)
    folder.read()
    (path,) = write([folder], run_dir / NAME)
    return path


def _explain(config: RunConfig) -> None:
    meta, tasks = config.meta_learning, config.task_distribution
    typer.echo(
        f"A coordinator and {len(WORKERS)} workers, processes of their own, run "
        f"{meta.num_meta_iterations} rounds of Reptile.\nEach round adapts "
        f"{meta.meta_batch_size} tasks: {tasks.num_classes} kinds of handwritten "
        f"digit, {tasks.train_k_shot} examples each, {meta.num_inner_steps} gradient "
        "steps.\n"
    )


def _train(config: Path, output: Path) -> None:
    """One coordinator and the workers, until the run is done."""
    command = [sys.executable, "-m", "coordinator.cli", "--config", str(config)]
    command += ["--listen", "127.0.0.1:0"]
    with subprocess.Popen(  # noqa: S603 - our own command
        command, stderr=subprocess.PIPE, encoding="utf-8", errors="replace"
    ) as coordinator:
        try:
            if coordinator.stderr is None:
                raise AssertionError
            address = _address(coordinator.stderr)
            with _workers(address, output):
                for line in coordinator.stderr:
                    sys.stderr.write(line)
                _check_end(coordinator.wait(), output)
        finally:
            coordinator.terminate()


def _check_end(code: int, output: Path) -> None:
    if code != 0:
        raise MlpeftError(
            f"the coordinator ended with exit code {code}; what it said is above, what "
            f"the workers saw is in {output}/worker-*.log"
        )


def _address(lines: Iterator[str]) -> str:
    """The coordinator's address, from the line that names it."""
    for line in lines:
        sys.stderr.write(line)
        if line.startswith("listening on "):
            return line.removeprefix("listening on ").partition(": ")[0]
    raise MlpeftError("the coordinator ended before it listened; see above")


@contextmanager
def _workers(address: str, output: Path) -> Iterator[None]:
    """Worker processes that end with the run; their terminals are files."""
    processes = []
    try:
        for name in WORKERS:
            command = [sys.executable, "-m", "worker.cli", "--coordinator", address]
            with (output / f"{name}.log").open("w", encoding="utf-8") as log:
                processes.append(
                    subprocess.Popen(  # noqa: S603 - our own command
                        [*command, "--name", name, "--once"], stdout=log, stderr=log
                    )
                )
        yield
        for process in processes:
            process.wait(END_S)
    finally:
        for process in processes:
            process.kill()
            process.wait()

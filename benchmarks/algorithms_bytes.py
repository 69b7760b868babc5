"""Theta's bytes by algorithm: of one process, two workers, and after a kill."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, get_args

from mlpeft.config import RunConfig
from mlpeft.config.algorithms import AlgorithmName
from mlpeft.files import file_digest
from mlpeft.training import checkpoint

if TYPE_CHECKING:
    from pathlib import Path

ITERATIONS = 6
PATIENCE_S = 120
WORKERS = ("--local-workers", "2", "--listen", "127.0.0.1:0")
QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
TREE: dict[str, dict[str, Any]] = {
    "meta_learning": {
        "num_meta_iterations": ITERATIONS,
        "num_inner_steps": 2,
        "save_interval": 2,
        "eval_interval": 3,
        "multi_step_iterations": 4,
        "outer_lr": 0.1,
    },
    "task_distribution": {"query_size": 10, "k_shot": 6},
    "model": {"hidden_dim": 8, "num_layers": 1, "backbone": "tanh"},
    "evaluation": {"num_val_episodes": 4, "num_inner_steps": 3},
    "compute": {"threads": 1, "strategy": "loop", "shard_size": 2},
}


def compare(out: Path) -> None:
    """Print a line an algorithm.

    Raises:
        SystemExit: If any differ.
    """
    folder = out / "bytes"
    wrong = []
    for name in get_args(AlgorithmName):
        digests = {way: _digest(folder, name, way) for way in ("one", "two", "killed")}
        same = len(set(digests.values())) == 1
        print(name, "the same bytes" if same else "OTHER BYTES", digests, flush=True)
        if not same:
            wrong.append(name)
    if wrong:
        raise SystemExit(f"other bytes: {', '.join(wrong)}")


def _digest(folder: Path, name: str, way: str) -> str:
    """SHA-256 of theta's file after a run, 12 digits."""
    run_name = f"{name.replace('+', 'p')}-{way}"
    step = folder / run_name / "steps" / f"{ITERATIONS:08d}" / "theta.safetensors"
    if not step.is_file():
        tree = {section: dict(keys) for section, keys in TREE.items()}
        tree["meta_learning"]["algorithm"] = name
        config = RunConfig.from_dict(
            tree | {"run": {"name": run_name}, "paths": {"checkpoint_dir": str(folder)}}
        )
        file = folder / f"{run_name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(config.to_yaml())
        _run(file, way, folder / run_name)
    return file_digest(step)[:12]


def _run(file: Path, way: str, run_dir: Path) -> None:
    if way == "two":
        _call("coordinator", "--config", str(file), *WORKERS)
        return
    command = ["mlpeft", "train", "--config", str(file)]
    if way == "killed":
        process = subprocess.Popen([sys.executable, "-m", *command], **QUIET)
        deadline = time.monotonic() + PATIENCE_S
        while checkpoint.newest(run_dir)[0] is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
        process.wait()
        command.append("--resume")
    _call(*command)


def _call(*command: str) -> None:
    subprocess.run([sys.executable, "-m", *command], check=False, **QUIET)

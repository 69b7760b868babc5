"""What `methods.py` trains and scores; what is done is kept.

A run's folder is kept by its own means: a training that was stopped goes on. Scores of
test episodes are a file a method, one number an episode, so that methods are paired.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlpeft.config import RunConfig
from mlpeft.files import write_atomically
from mlpeft.results import half_width
from mlpeft.training import checkpoint
from mlpeft.training.loop import train
from mlpeft.training.plan import test_shards
from mlpeft.training.run_folder import run_folder
from mlpeft.training.runner import ShardRunner
from mlpeft.training.trained import load_trained

RECIPE = Path(__file__).with_name("methods.yaml")
OUTER_LRS = (5e-5, 5e-4, 5e-3, 5e-2)
"""What each method chooses from on validation intents: all weights want short steps of
Adam, few parameters that scale what is there want long ones."""
FROZEN = "head"
"""The method that learns nothing which outlives an episode: the frozen encoder."""


@dataclass(frozen=True)
class Trainings:
    """The same short meta-training with each method.

    Attributes:
        out: Folder of runs and scores.
        weights: The encoder, as `model.weights`.
        iterations: Meta-iterations of a training.
        validation: Validation episodes that choose the outer step size.
        episodes: Test episodes.
    """

    out: Path
    weights: str
    iterations: int
    validation: int
    episodes: int

    def cells(self, method: str) -> list[str]:
        """Accuracy, its paired gain over the frozen encoder, the chosen step size."""
        scores, lr = self.scores(method)
        frozen, _ = self.scores(FROZEN)
        cells = [_percent(scores)]
        if method == FROZEN:
            return [*cells, "", ""]
        gain = 100 * (scores - frozen)
        return [*cells, f"{gain.mean():+.1f} ± {half_width(gain):.1f}", f"{lr:g}"]

    def scores(self, method: str) -> tuple[np.ndarray, float]:
        """Accuracies (episodes,) of a method, and the outer step size that it chose."""
        file = self.out / f"{method}-{self.iterations}-{self.episodes}.json"
        if not file.is_file():
            if method == FROZEN:
                # LoRA that has learned nothing; a step size of 0 is none to choose.
                lr = 0.0
                run_dir, _ = self._trained("lora", lr, 1)
            else:
                runs = {lr: self._trained(method, lr) for lr in OUTER_LRS}
                lr = max(runs, key=lambda lr: (runs[lr][1], -lr))
                run_dir = runs[lr][0]
            found = self._test(run_dir)
            _tell(f"{method}: {_percent(found)} on {self.episodes} test episodes")
            text = json.dumps({"outer_lr": lr, "acc": found.tolist()})
            write_atomically(file, text.encode())
        kept = json.loads(file.read_text(encoding="utf-8"))
        return np.array(kept["acc"]), kept["outer_lr"]

    def _trained(
        self, method: str, lr: float, iterations: int | None = None
    ) -> tuple[Path, float]:
        """The folder of a whole run, and its accuracy on validation intents."""
        config = self._config(method, lr, iterations or self.iterations)
        run_dir = run_folder(config)
        if _done(run_dir) < config.meta_learning.num_meta_iterations:
            train(config, resume=None)
        acc = _last_validation(run_dir)
        _tell(f"{config.run.name}: {100 * acc:.1f} % on validation")
        return run_dir, acc

    def _test(self, run_dir: Path) -> np.ndarray:
        # The last step: the best may be the start, for want of validation episodes.
        last, _ = checkpoint.newest(run_dir)
        trained = load_trained(run_dir if last is None else last.path)
        runner = ShardRunner.from_config(trained.config)
        shards = test_shards(runner.config, runner.tasks, self.episodes)
        found = [runner.run(trained.meta, shard).per_task["acc"] for shard in shards]
        return np.concatenate(found)[:, -1]

    def _config(self, method: str, lr: float, iterations: int) -> RunConfig:
        changes = {
            "paths.checkpoint_dir": self.out / "runs",
            "run.name": f"{method}_{lr:g}_{iterations}",
            "model.weights": self.weights,
            "peft.method": method,
            "compute.threads": 1,
            "meta_learning.outer_lr": lr,
            "meta_learning.num_meta_iterations": iterations,
            "meta_learning.eval_interval": iterations,
            "meta_learning.save_interval": iterations,
            "evaluation.num_val_episodes": self.validation,
        }
        return RunConfig.load(RECIPE, [f"{key}={it}" for key, it in changes.items()])


def _done(run_dir: Path) -> int:
    found, _ = checkpoint.newest(run_dir)
    return 0 if found is None else found.progress.iteration


def _last_validation(run_dir: Path) -> float:
    lines = (run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    accs = [found["acc"][-1] for found in records if found["kind"] == "validate"]
    return float(accs[-1])


def _percent(scores: np.ndarray) -> str:
    return f"{100 * scores.mean():.1f} ± {100 * half_width(scores):.1f}"


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

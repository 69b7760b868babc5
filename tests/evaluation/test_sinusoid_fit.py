"""One sinusoid before and after adaptation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlpeft.commands.plot import plot
from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError
from mlpeft.evaluation.sinusoid_fit import Fit, fit_sinusoid
from mlpeft.seeds import Purpose, generator, seed_word
from mlpeft.training.loop import train
from mlpeft.training.runner import ShardRunner
from mlpeft.training.trained import load_trained
from mlpeft.work import Kind, Shard, TaskSpec


def sinusoids(folder: Path, **tasks) -> RunConfig:
    return RunConfig.from_dict(
        {
            "run": {"name": "waves"},
            "meta_learning": {
                "num_meta_iterations": 3,
                "inner_lr": 0.02,
                "num_inner_steps": 32,
                "outer_lr": 0.1,
            },
            "task_distribution": {
                "task_families": ["sinusoid"],
                "num_classes": 1,
                "k_shot": 10,
                **tasks,
            },
            "model": {"backbone": "tanh", "hidden_dim": 32},
            "evaluation": {"num_val_episodes": 2, "steps": [0]},
            "paths": {"checkpoint_dir": str(folder)},
        }
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run."""
    return train(sinusoids(tmp_path_factory.mktemp("runs"))).run_dir


def test_adaptation_comes_nearer_to_the_examples(run: Path) -> None:
    """The inner loop descends on the support set, so the fit there must get better."""
    fit = fit_sinusoid(load_trained(run))

    def error(prediction: np.ndarray) -> float:
        at_support = np.interp(fit.support_x, fit.x, prediction)
        return float(np.mean((at_support - fit.support_y) ** 2))

    assert error(fit.after) < 0.9 * error(fit.before)


def test_the_curve_is_in_order_and_goes_through_the_examples(run: Path) -> None:
    fit = fit_sinusoid(load_trained(run))
    assert (np.diff(fit.x) >= 0).all()
    inside = np.abs(fit.support_x) < 4.5
    between = np.interp(fit.support_x[inside], fit.x, fit.truth)
    assert between == pytest.approx(fit.support_y[inside], abs=0.1)


def test_the_same_run_gives_the_same_picture_and_another_number_another(
    run: Path,
) -> None:
    trained = load_trained(run)
    first, again, other = (fit_sinusoid(trained, n) for n in (0, 0, 1))

    def support(fit: Fit) -> list[float]:
        return fit.support_x.tolist()

    assert support(first) == support(again)
    assert first.after.tolist() == again.after.tolist()
    assert support(first) != support(other)


def test_inner_batches_are_honoured(run: Path) -> None:
    whole = fit_sinusoid(load_trained(run))
    overrides = ["evaluation.inner_batch_size=2"]
    batched = fit_sinusoid(load_trained(run, overrides=overrides))
    assert batched.support_x.tolist() == whole.support_x.tolist()
    assert batched.after.tolist() != whole.after.tolist()


DROPOUT = {
    "model": {"hidden_dim": 16},
    "peft": {"method": "lora", "keys": ["0", "1"], "rank": 2, "dropout": 0.5},
}
NORMS = "tests.meta.test_norm_statistics"
NORMED = {"model": {"backbone": f"{NORMS}:normed"}}


@pytest.mark.parametrize(
    ("parts", "batch_norm"),
    [(DROPOUT, "batch"), (NORMED, "running"), (NORMED, "per-step")],
)
def test_a_fit_ends_where_evaluation_does(
    tmp_path: Path, parts: dict[str, dict[str, object]], batch_norm: str
) -> None:
    """With inner batches: the loss of the curve, by both, is the same."""
    config = sinusoids(tmp_path).with_changes(
        **parts,
        meta_learning={
            "inner_batch_size": 3,
            "num_inner_steps": 4,
            "batch_norm": batch_norm,
        },
        evaluation={"steps": [0, 4], "num_inner_steps": 4},
    )
    trained = load_trained(train(config).run_dir, allow_modules=[NORMS])
    fit = fit_sinusoid(trained)
    config = config.with_changes(task_distribution={"query_size": len(fit.x)})
    runner = ShardRunner.from_config(config)
    task = runner.tasks.test.sample_task(generator(config.run.seed, Purpose.TEST, 0))
    spec = TaskSpec(task, seed_word(config.run.seed, Purpose.SAMPLE, 0))
    shard = Shard(0, 0, Kind.TEST, (spec,))
    ((before, after),) = runner.run(trained.meta, shard).per_task["loss"]
    assert np.mean((fit.before - fit.truth) ** 2) == pytest.approx(before, rel=1e-4)
    assert np.mean((fit.after - fit.truth) ** 2) == pytest.approx(after, rel=1e-4)


def test_the_fresh_baseline_takes_the_same_steps_from_another_start(run: Path) -> None:
    trained = load_trained(run)
    ours, fresh = fit_sinusoid(trained), fit_sinusoid(trained, fresh=True)
    assert fresh.support_x.tolist() == ours.support_x.tolist()
    assert fresh.truth.tolist() == ours.truth.tolist()
    assert not np.allclose(fresh.before, ours.before)
    assert not np.allclose(fresh.after, fresh.before)


def test_only_sinusoids_of_one_output_are_curves(run: Path) -> None:
    trained = load_trained(
        run, overrides=["task_distribution.task_families=[linear_classification]"]
    )
    with pytest.raises(ConfigError, match="linear_classification"):
        fit_sinusoid(trained)


def test_mlpeft_plot_draws_it(run: Path, tmp_path: Path) -> None:
    plot(run, tmp_path)
    assert (tmp_path / "sinusoid_fit.png").stat().st_size > 1000

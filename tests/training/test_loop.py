"""The training loop: resume, stopping, and the same bits whatever happens."""

import json
import logging
import math
import signal
import subprocess
import sys

import numpy as np
import pytest

from mlpeft import params
from mlpeft.config import RunConfig
from mlpeft.errors import CheckpointError, MlpeftError
from mlpeft.reporting import JsonlReporter, Reporters
from mlpeft.training import checkpoint
from mlpeft.training.executor import LocalExecutor
from mlpeft.training.loop import train
from mlpeft.training.run_folder import identity
from mlpeft.training.runner import ShardRunner
from mlpeft.work import Kind

TINY = {
    "meta_learning": {
        "num_meta_iterations": 60,
        "inner_lr": 0.1,
        "outer_lr": 0.5,
        "num_inner_steps": 2,
        "eval_interval": 20,
        "save_interval": 10,
    },
    "task_distribution": {"num_train_tasks": 8, "num_val_tasks": 4, "query_size": 10},
    "model": {"hidden_dim": 8},
    "evaluation": {"num_val_episodes": 6},
}


def config(tmp_path, **changes):
    tree = {section: dict(keys) for section, keys in TINY.items()}
    tree["paths"] = {"checkpoint_dir": str(tmp_path)}
    for key, value in changes.items():
        section, name = key.split("__")
        tree.setdefault(section, {})[name] = value
    return RunConfig.from_dict(tree)


def stop_after(iterations):
    calls = iter(range(iterations + 1))
    return lambda: next(calls) == iterations


VARIANTS = {
    "sgd": {},
    "carried Adam in batches, outer Adam, cosine": {
        "meta_learning__inner_optimizer": "adam",
        "meta_learning__inner_state": "carry",
        "meta_learning__inner_batch_size": 3,
        "meta_learning__outer_optimizer": "adam",
        "meta_learning__outer_lr": 0.01,
        "meta_learning__outer_schedule": "cosine",
        "task_distribution__num_train_tasks": None,
    },
    "int8 with what steps lost": {"cluster__compression": "int8"},
    "powersgd with what steps lost": {"cluster__compression": "powersgd"},
    "outer Nesterov": {
        "meta_learning__outer_optimizer": "nesterov",
        "meta_learning__outer_lr": 0.05,
    },
    "learned rates, losses that follow the iteration": {
        "meta_learning__algorithm": "maml++",
        "meta_learning__multi_step_iterations": 40,
        "meta_learning__meta_batch_size": 1,
        "meta_learning__outer_optimizer": "adam",
        "meta_learning__outer_lr": 0.01,
        "compute__strategy": "loop",
    },
}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_stopped_and_resumed_run_ends_in_the_same_bytes(tmp_path, variant):
    """60 at once; 30, stop, and 30 more: theta, outer state, metrics, best."""
    whole = train(config(tmp_path / "whole", **variant))
    parts = config(tmp_path / "parts", **variant)
    first = train(parts, should_stop=stop_after(30))
    assert (first.iteration, first.reason) == (30, "stopped")
    second = train(parts, resume=True)
    assert (second.iteration, second.reason) == (60, "done")
    assert params.digest(second.meta) == params.digest(whole.meta)
    assert second.best == whole.best
    newest = [checkpoint.newest(result.run_dir)[0] for result in (whole, second)]
    assert params.digest(newest[0].outer) == params.digest(newest[1].outer)
    assert _metrics(whole.run_dir) == _metrics(second.run_dir)


def _metrics(run_dir):
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    for record in records:
        del record["time"]
    return records


CHILD = """
import os, signal, sys
from mlpeft.config import RunConfig
from mlpeft.reporting import JsonlReporter, Reporters
from mlpeft.training.loop import train

class Killer(JsonlReporter):
    def iteration(self, iteration, metrics):
        super().iteration(iteration, metrics)
        if iteration == 37:
            os.kill(os.getpid(), signal.SIGKILL)

train(RunConfig.load(sys.argv[1]), reporter=Killer())
"""


def test_a_killed_run_resumes_to_the_same_bytes(tmp_path):
    """kill -9 in iteration 38; the checkpoint of 30 is taken up."""
    whole = train(config(tmp_path / "whole"))
    killed = config(tmp_path / "killed")
    file = tmp_path / "run.yaml"
    file.write_text(killed.to_yaml())
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(file)], timeout=100, check=False
    )
    assert child.returncode == -signal.SIGKILL
    assert checkpoint.newest(tmp_path / "killed" / "run")[0].progress.iteration == 30
    resumed = train(killed, resume=True)
    assert params.digest(resumed.meta) == params.digest(whole.meta)
    assert _metrics(resumed.run_dir) == _metrics(whole.run_dir)


def test_the_last_meta_state_is_saved_and_the_best_is_named(tmp_path):
    result = train(config(tmp_path, meta_learning__num_meta_iterations=25))
    found, skipped = checkpoint.newest(result.run_dir)
    assert skipped == []
    assert found.progress.iteration == 25
    assert params.digest(found.meta) == params.digest(result.meta)
    assert checkpoint.best(result.run_dir) is not None
    kept = RunConfig.load(result.run_dir / "config.yaml")
    assert kept.compute.strategy == "fused"
    assert kept.compute.shard_size == 4


def test_a_folder_that_holds_a_run_is_not_written_over(tmp_path):
    train(config(tmp_path), should_stop=stop_after(1))
    with pytest.raises(CheckpointError, match="--resume"):
        train(config(tmp_path))


def test_there_must_be_something_to_resume(tmp_path):
    with pytest.raises(CheckpointError, match="nothing to resume"):
        train(config(tmp_path), resume=True)


def test_another_configuration_is_not_resumed_and_the_difference_named(tmp_path):
    train(config(tmp_path), should_stop=stop_after(1))
    changed = config(tmp_path, meta_learning__inner_lr=0.2)
    with pytest.raises(CheckpointError, match=r"inner_lr was 0\.1, is 0\.2"):
        train(changed, resume=True)


def test_a_key_that_is_new_since_the_run_began_stops_no_resume(tmp_path, monkeypatch):
    """An older mlpeft did not know peft.rank; it is at its default here."""
    with monkeypatch.context() as older:
        older.setattr(
            "mlpeft.training.run_folder.identity",
            lambda config: {
                k: v for k, v in identity(config).items() if "rank" not in k
            },
        )
        train(config(tmp_path), should_stop=stop_after(3))
    assert (
        train(config(tmp_path), resume=True, should_stop=stop_after(3)).iteration == 6
    )


def test_another_configuration_is_not_resumed_when_the_first_one_is_gone(tmp_path):
    train(config(tmp_path, meta_learning__num_meta_iterations=1))
    (tmp_path / "run" / "config.yaml").unlink()
    with pytest.raises(CheckpointError, match=r"config\.yaml is gone"):
        train(config(tmp_path, meta_learning__inner_lr=0.2), resume=True)


def test_more_iterations_may_be_asked_for_where_the_schedule_allows(tmp_path):
    train(config(tmp_path))
    longer = train(config(tmp_path, meta_learning__num_meta_iterations=70), resume=True)
    assert longer.iteration == 70
    told = RunConfig.load(longer.run_dir / "config.yaml")
    assert told.meta_learning.num_meta_iterations == 70
    linear = config(tmp_path, meta_learning__outer_schedule="linear")
    assert "meta_learning.num_meta_iterations" in identity(linear)


def test_a_schedule_over_the_whole_run_is_named_where_a_run_is_to_be_extended(
    tmp_path,
):
    changes = {"meta_learning__outer_schedule": "linear"}
    train(config(tmp_path, **changes))
    longer = config(tmp_path, meta_learning__num_meta_iterations=70, **changes)
    with pytest.raises(CheckpointError, match="linear spreads outer_lr over all"):
        train(longer, resume=True)


def test_a_broken_newest_checkpoint_is_skipped_and_told(tmp_path):
    whole = train(config(tmp_path / "whole"))
    parts = config(tmp_path / "parts")
    first = train(parts, should_stop=stop_after(30))
    (first.run_dir / "steps" / "00000030" / "state.json").write_text("{")
    told = []

    class Listener(JsonlReporter):
        def message(self, text):
            told.append(text)

    second = train(parts, resume=True, reporter=Listener())
    assert any("00000030" in text for text in told)
    assert params.digest(second.meta) == params.digest(whole.meta)


def test_training_stops_when_nothing_gets_better(tmp_path):
    """An outer step of 0 changes nothing, so no validation beats the first."""
    result = train(
        config(tmp_path, meta_learning__outer_lr=0.0, meta_learning__patience=2)
    )
    assert (result.reason, result.iteration) == ("patience", 40)


def test_a_loss_that_is_not_finite_stops_the_run_with_advice(tmp_path):
    wild = config(tmp_path, meta_learning__inner_lr=1e30)
    with (
        np.errstate(all="ignore"),
        pytest.raises(MlpeftError, match=r"not finite; lower .*inner_lr"),
    ):
        train(wild)
    found, _ = checkpoint.newest(tmp_path / "run")
    assert all(np.isfinite(leaf).all() for leaf in found.meta.values())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"outer_lr": 1e30, "outer_optimizer": "adam"}, r"lower .*outer_lr 1e\+30"),
        ({"algorithm": "fomaml", "outer_lr": 1e30}, r"lower .*outer_lr 1e\+30"),
        ({"algorithm": "fomaml", "inner_lr": 1e30}, r"lower .*inner_lr 1e\+30"),
    ],
)
def test_the_step_size_that_ran_away_is_named(tmp_path, changes, told):
    wild = config(
        tmp_path,
        **{f"meta_learning__{key}": value for key, value in changes.items()},
    )
    with np.errstate(all="ignore"), pytest.raises(MlpeftError, match=told):
        train(wild)


def test_shards_of_any_size_hold_the_same_episodes(tmp_path):
    """Shards of 1, 2 and 4 tasks adapt to the same meta-batch."""
    results = []
    for size in (1, 2, 4):
        run = config(tmp_path / str(size), compute__shard_size=size)
        results.append(train(run, should_stop=stop_after(5)).meta)
    for other in results[1:]:
        for name, leaf in results[0].items():
            np.testing.assert_allclose(other[name], leaf, rtol=1e-4, atol=1e-6)


def test_validation_goes_through_the_executor_like_training(tmp_path):
    asked = []

    class Recording(LocalExecutor):
        def run(self, version, meta, shards):
            asked.append((version, {shard.kind for shard in shards}))
            return super().run(version, meta, shards)

    runner = ShardRunner.from_config(config(tmp_path))
    train(
        config(tmp_path),
        runner=runner,
        executor=Recording(runner),
        should_stop=stop_after(2),
    )
    assert asked == [(0, {Kind.VALIDATE}), (0, {Kind.TRAIN}), (1, {Kind.TRAIN})]


def test_reporters_hear_of_every_iteration(tmp_path):
    class Counter:
        seen = ()

        def __getattr__(self, name):
            def heard(*args):
                Counter.seen += ((name, *args[:1]),)

            return heard

    train(config(tmp_path), reporter=Reporters([Counter()]), should_stop=stop_after(3))
    names = [name for name, *_ in Counter.seen]
    assert names[0] == "start"
    assert names[-1] == "close"
    assert [args[0] for name, *args in Counter.seen if name == "iteration"] == [1, 2, 3]


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    """A real process, a real signal: exit code 130, and the run resumes."""
    run = config(tmp_path, meta_learning__num_meta_iterations=1_000_000)
    file = tmp_path / "tiny.yaml"
    file.write_text(run.to_yaml())
    command = [sys.executable, "-m", "mlpeft.cli", "train", "--config", str(file)]
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,  # the log goes to logs/ there
    )
    try:
        for line in child.stderr:
            if "/1000000" in line and not line.strip().startswith("0/"):
                break
        child.send_signal(signal.SIGINT)
        output, _ = child.communicate(timeout=60)
    finally:
        child.kill()
        child.wait(30)
    assert child.returncode == 130
    assert "--resume" in output
    found, _ = checkpoint.newest(tmp_path / "run")
    assert found.progress.iteration > 0
    assert (tmp_path / "run" / "metrics.jsonl").is_file()


@pytest.mark.parametrize("strategy", ["loop", "vmap"])
def test_slow_validations_and_iterations_say_how_far_they_are(
    tmp_path, monkeypatch, caplog, strategy
):
    """Here all are slow, or none; what is said changes no bits."""
    monkeypatch.setattr("mlpeft.reporting.pace.EVERY_S", math.inf)
    monkeypatch.setattr(logging.getLogger("mlpeft"), "propagate", True)
    caplog.set_level("INFO", logger="mlpeft.train")
    changes = {
        "compute__strategy": strategy,
        "compute__shard_size": 1,
        "meta_learning__meta_batch_size": 3,
        "evaluation__num_val_episodes": 12,
    }
    quiet = train(config(tmp_path / "quiet", **changes))
    assert "scored" not in caplog.text
    monkeypatch.setattr("mlpeft.reporting.pace.EVERY_S", -1.0)
    told = train(config(tmp_path / "told", **changes))
    assert "validation in progress: 10 of 12 episodes scored" in caplog.text
    assert ": 1 of 3 tasks done" in caplog.text
    assert params.digest(told.meta) == params.digest(quiet.meta)


class Failing(LocalExecutor):
    """Returns results from which nothing can be computed, once."""

    def __init__(self, runner, spoil, at):
        super().__init__(runner)
        self.spoil, self.at = spoil, at

    def run(self, version, meta, shards):
        done = super().run(version, meta, shards)
        if (version, shards[0].kind) == self.at:
            self.spoil(done)
        return done


def lose_a_leaf(done):
    """Adam's moments of the leaves before it are new by the time that this shows."""
    del done.totals.total[max(done.totals.total)]


def another_shape(done):
    done.per_task[0]["loss"] = np.zeros((1, 7, 3))


@pytest.mark.parametrize(
    ("spoil", "at", "reason"),
    [
        (lose_a_leaf, (7, Kind.TRAIN), "meta-iteration 7: what the round returned"),
        (another_shape, (20, Kind.VALIDATE), "loss has shape"),
    ],
)
def test_a_round_of_no_use_ends_in_a_sentence_and_costs_no_bytes(
    tmp_path, spoil, at, reason
):
    wanted = train(config(tmp_path / "a", meta_learning__outer_optimizer="adam")).meta
    runner = ShardRunner.from_config(
        config(tmp_path / "b", meta_learning__outer_optimizer="adam")
    )
    executor = Failing(runner, spoil, at)
    with pytest.raises(MlpeftError, match=reason):
        train(runner.config, runner=runner, executor=executor)
    found, _ = checkpoint.newest(tmp_path / "b" / "run")
    assert found.progress.iteration == at[0]
    resumed = train(runner.config, runner=runner, resume=True).meta
    assert params.digest(resumed) == params.digest(wanted)

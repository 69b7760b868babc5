"""A run writes down which data it was begun with, and does not mix them with others."""

import json
import logging

import numpy as np
import pytest

from mlpeft.config import RunConfig
from mlpeft.errors import CheckpointError
from mlpeft.evaluation.evaluate import compare, evaluate
from mlpeft.tasks.families import folder_classes as module
from mlpeft.training.loop import train
from mlpeft.training.trained import load_trained


@pytest.fixture
def photos(tmp_path):
    """Two classes of 4 x 4 images for each split."""
    write(tmp_path / "photos", seed=0)
    return tmp_path / "photos"


def write(photos, seed):
    rng = np.random.default_rng(seed)
    for split in ("train", "val", "test"):
        (photos / split).mkdir(parents=True, exist_ok=True)
        for name in ("a", "b"):
            images = rng.integers(0, 256, (6, 4, 4)).astype(np.uint8)
            np.save(photos / split / f"{split}_{name}.npy", images)
    # As in another process: this one has read the folder already.
    module.read_image_folder.cache_clear()


def config(photos, **meta_learning):
    return RunConfig.from_dict(
        {
            "meta_learning": {"num_meta_iterations": 2, "eval_interval": 2}
            | meta_learning,
            "task_distribution": {
                "task_families": ["folder"],
                "task_params": {"path": str(photos)},
                "k_shot": 1,
                "query_size": 2,
                "num_train_tasks": 2,
                "num_val_tasks": 1,
                "num_test_tasks": 1,
            },
            "model": {"backbone": "logistic"},
            "evaluation": {"num_val_episodes": 2, "num_inner_steps": 1},
            "compute": {"strategy": "loop"},
            "paths": {"checkpoint_dir": str(photos.parent)},
        }
    )


def test_settings_and_digests_are_written_down(photos):
    run_dir = train(config(photos)).run_dir
    told = json.loads((run_dir / "data.json").read_text())
    assert told["task_families"] == ["folder"]
    assert told["task_params"] == {"path": str(photos)}
    assert [len(digest) for digest in told["sha256"].values()] == [64]


def test_a_run_without_data_writes_nothing_down(tmp_path):
    tree = {
        "meta_learning": {"num_meta_iterations": 1},
        "evaluation": {"num_val_episodes": 1, "num_inner_steps": 1},
        "compute": {"strategy": "loop"},
        "paths": {"checkpoint_dir": str(tmp_path)},
    }
    run_dir = train(RunConfig.from_dict(tree)).run_dir
    assert not (run_dir / "data.json").exists()


def test_a_run_goes_on_with_the_same_data_alone(photos):
    train(config(photos))
    longer = config(photos, num_meta_iterations=3)
    write(photos, seed=1)
    with pytest.raises(
        CheckpointError, match="started with other data: photos changed"
    ):
        train(longer, resume=True)
    write(photos, seed=0)
    assert train(longer, resume=True).iteration == 3


def test_a_run_that_has_nothing_written_down_does_so_when_it_goes_on(photos):
    """As one that `mlpeft import` began."""
    run_dir = train(config(photos)).run_dir
    (run_dir / "data.json").unlink()
    train(config(photos, num_meta_iterations=3), resume=True)
    assert (run_dir / "data.json").is_file()


def test_evaluating_with_changed_data_says_so_once(photos, caplog):
    run_dir = train(config(photos)).run_dir
    write(photos, seed=1)
    evaluate(load_trained(run_dir), 2)
    assert "photos changed since" in caplog.text
    caplog.clear()
    compare(load_trained(run_dir), [1, 2], 2)
    assert caplog.text.count("photos changed since") == 1


def test_evaluating_on_other_tasks_is_no_change_of_data(photos, caplog):
    run_dir = train(config(photos)).run_dir
    write(photos.with_name("others"), seed=1)
    others = f"task_distribution.task_params.path={photos.with_name('others')}"
    with caplog.at_level(logging.WARNING):
        evaluate(load_trained(run_dir, overrides=[others]), 2)
    warnings = [row for row in caplog.records if row.levelno >= logging.WARNING]
    assert warnings == []


def test_what_is_damaged_is_told(photos):
    run_dir = train(config(photos)).run_dir
    (run_dir / "data.json").write_text('{"task_families": []}')
    with pytest.raises(CheckpointError, match=r"data\.json is damaged .* remove it"):
        evaluate(load_trained(run_dir), 2)

"""Episodes of colour images go from the file to a network."""

import numpy as np
import pytest

from mlpeft.config import RunConfig
from mlpeft.datasets.image_sets.image_file import (
    SPLITS,
    ImageClass,
    read_images,
    write_images,
)
from mlpeft.tasks.build import build_tasks
from mlpeft.training import run_data
from mlpeft.training.plan import test_shards as shards_of_test
from mlpeft.training.plan import train_shards
from mlpeft.training.runner import ShardRunner

NAME = "cifar_fs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six classes a split; each is one colour, the third channel its number."""
    made = tmp_path_factory.mktemp("data")

    def load(number):
        images = np.full((4, 32, 32, 3), 10, np.uint8)
        images[..., 2] = number
        images[:, :, :, 0] = np.arange(4)[:, None, None]
        return images

    classes = [
        ImageClass(f"c{number}", split, 4, lambda number=number: load(number))
        for at, split in enumerate(SPLITS)
        for number in range(20 * at, 20 * at + 6)
    ]
    write_images(made / f"{NAME}.npz", classes, 32)
    return made


@pytest.fixture
def config(folder, monkeypatch):
    monkeypatch.delenv("MLPEFT_DATA_DIR", raising=False)
    tree = {
        "meta_learning": {"num_inner_steps": 1, "meta_batch_size": 1},
        "task_distribution": {
            "task_families": [NAME],
            "num_classes": 3,
            "k_shot": 1,
            "query_size": 3,
        },
        "model": {"backbone": "conv4", "hidden_dim": 4},
        "evaluation": {"num_inner_steps": 1, "steps": [0]},
        "compute": {"strategy": "loop"},  # compiles nothing
        "paths": {"data_dir": str(folder)},
    }
    return RunConfig.from_dict(tree)


def test_classes_are_those_of_the_split_and_support_is_not_query(config):
    tasks = build_tasks(config)
    assert tasks.input_shape == (32, 32, 3)
    for at, split in enumerate((tasks.train, tasks.val, tasks.test)):
        episode = split.episode(split.sample_task(np.random.default_rng(0)), 0)
        assert episode.support_x.shape == (3, 32, 32, 3)
        assert episode.support_x.dtype == np.float32
        numbers = np.rint(255 * episode.support_x[:, 0, 0, 2]).astype(int)
        assert set(numbers // 20) == {at}
        by_label = dict(zip(episode.support_y, numbers, strict=True))
        for x, label in zip(episode.query_x, episode.query_y, strict=True):
            assert round(255 * float(x[0, 0, 2])) == by_label[label]
            (support,) = episode.support_x[episode.support_y == label]
            assert support[0, 0, 0] != x[0, 0, 0]


@pytest.mark.parametrize("backbone", ["conv4", "conv4_pool"])
def test_a_network_learns_from_colour(config, backbone):
    runner = ShardRunner.from_config(config.with_changes(model={"backbone": backbone}))
    meta = runner.initial_meta()
    update = runner.run(meta, train_shards(runner.config, runner.tasks, 0)[0])
    assert np.isfinite(update.per_task["support_loss"]).all()
    assert any((update.total[name] != meta[name]).any() for name in meta)
    tested = runner.run(meta, shards_of_test(runner.config, runner.tasks, 2)[0])
    assert tested.per_task["acc"].shape == (2, 2)


def test_the_digest_is_that_of_the_contents(config, folder, tmp_path):
    runner = ShardRunner.from_config(config)
    run_data.record(tmp_path, runner)
    expected = read_images(folder / f"{NAME}.npz").sha256
    assert expected in (tmp_path / run_data.FILE).read_text()

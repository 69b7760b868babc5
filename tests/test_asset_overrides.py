"""Overrides are found first, in their context alone."""

import contextvars
import threading
from pathlib import Path

import numpy as np
import pytest

from mlpeft.datasets.folders import find
from mlpeft.files import override_assets, override_of
from mlpeft.models.pretrained.source import model_path
from mlpeft.tasks.episode import TaskConfig
from mlpeft.tasks.families import get_family


@pytest.fixture(autouse=True)
def _own_context():
    """A test's overrides end with it."""
    yield
    override_assets({})


def test_an_override_takes_precedence_over_all_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("MLPEFT_DATA_DIR", str(tmp_path))
    (tmp_path / "omniglot.npz").write_text("this machine's")
    override_assets({"omniglot.npz": Path("/cache/omniglot.npz")})
    assert find("omniglot.npz") == Path("/cache/omniglot.npz")
    override_assets({})
    assert find("omniglot.npz") == tmp_path / "omniglot.npz"


def test_an_override_takes_precedence_over_a_models_folder(tmp_path):
    override_assets({str(tmp_path): Path("/cache/model")})
    assert model_path(str(tmp_path)) == Path("/cache/model")


def test_overrides_do_not_leak_into_other_threads_and_contexts():
    seen = []
    override_assets({"a": Path("/mine")})
    thread = threading.Thread(
        target=contextvars.Context().run,
        args=(lambda: seen.append(override_of("a")),),
    )
    thread.start()
    thread.join(60)
    assert seen == [None]
    assert override_of("a") == Path("/mine")


def test_a_second_run_reads_its_own_files(tmp_path):
    """A worker that serves one run after another must not keep the first one's data."""

    def write(name, ink):
        path = tmp_path / name / "omniglot.npz"
        path.parent.mkdir()
        np.savez(
            path,
            images=np.full((36, 28, 28), ink, np.uint8),
            class_names=np.array([f"{number}/1" for number in range(18)]),
            class_alphabet=np.arange(18, dtype=np.uint8),
            class_split=np.array([0] * 12 + [1] * 6, np.uint8),
        )
        return path

    task = TaskConfig("t", "omniglot", 2, 784, 2, 2, {"split": "train"})
    means = []
    for name, ink in (("first", 51), ("second", 102)):
        override_assets({"omniglot.npz": write(name, ink)})
        episode = get_family("omniglot").sample(task, np.random.default_rng(0))
        means.append(round(float(episode.support_x.mean()), 3))
    assert means == [0.2, 0.4]

"""Task distributions as files: round trips, harmful and damaged files."""

from __future__ import annotations

import json
import os
import pickle
import resource
import subprocess

import numpy as np
import pytest

from mlpeft.errors import ConfigError, DataError
from mlpeft.tasks.distribution import TaskDistribution
from mlpeft.tasks.episode import TaskConfig

SUFFIXES = ["pkl", "pickle", "json", "yaml", "yml"]


@pytest.fixture
def dist():
    tasks = [
        TaskConfig(f"t{n}", "linear_classification", task_params={"rotation_angle": n})
        for n in range(6)
    ]
    dist = TaskDistribution(tasks, seed=2**63 + 5, data_dir="somewhere")
    dist.sample_episode()
    return dist


def assert_same(loaded, dist):
    assert loaded.configs == dist.configs
    assert (loaded.seed, loaded.data_dir) == (dist.seed, dist.data_dir)
    for one, two in zip(
        loaded.sample_episode()[1:], dist.sample_episode()[1:], strict=True
    ):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_loaded_distribution_continues_its_stream(dist, tmp_path, suffix):
    path = tmp_path / "not" / "yet" / f"tasks.{suffix}"
    dist.save(path)
    assert_same(TaskDistribution.load(str(path)), dist)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_the_standard_pickle_works_as_the_guide_says(dist, tmp_path, protocol):
    path = tmp_path / "task_dist.pkl"
    with path.open("wb") as file:
        pickle.dump(dist, file, protocol=protocol)
    with path.open("rb") as file:
        loaded = pickle.load(file)  # noqa: S301 - ours
    assert_same(loaded, dist)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_load_reads_what_the_standard_pickle_wrote(dist, tmp_path, protocol):
    path = tmp_path / "task_dist.pkl"
    path.write_bytes(pickle.dumps(dist, protocol=protocol))
    assert_same(TaskDistribution.load(path), dist)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_numpy_values_among_the_task_params_are_saved_as_plain_ones(tmp_path, suffix):
    params = {"rotation_angle": np.float64(1.5), "translation": np.array([1.0, 2.0])}
    dist = TaskDistribution(
        [TaskConfig("a", "linear_classification", task_params=params)]
    )
    dist.save(tmp_path / f"t.{suffix}")
    loaded = TaskDistribution.load(tmp_path / f"t.{suffix}")
    assert loaded.config("a").task_params == {
        "rotation_angle": 1.5,
        "translation": [1.0, 2.0],
    }
    np.testing.assert_array_equal(loaded.sample_episode()[1], dist.sample_episode()[1])


class Harm:
    """Runs a command when it is unpickled by the standard pickle."""

    def __init__(self, call, *args):
        self.reduced = (call, args)

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("where", ["alone", "in a list", "among the tasks"])
def test_a_pickle_that_runs_a_command_is_refused_and_runs_nothing(tmp_path, where):
    mark = tmp_path / "harmed"
    harm = Harm(os.system, f"touch {mark}")
    content = {
        "alone": harm,
        "in a list": [1, harm],
        "among the tasks": Harm(TaskDistribution, [harm]),
    }[where]
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match="which could run any code"):
        TaskDistribution.load(path)
    assert not mark.exists()
    # The same bytes do harm where they are trusted: the test would notice.
    pickle.loads(pickle.dumps(harm))  # noqa: S301 - that is the point
    assert mark.exists()


@pytest.mark.parametrize(
    "call",
    [
        (eval, "1"),
        (getattr, "a", "upper"),
        (subprocess.check_output, "true"),
        (np.frombuffer, b"1234"),
        (TaskConfig, "a", "b"),
    ],
    ids=lambda call: call[0].__name__,
)
def test_the_unpickler_loads_no_other_name(tmp_path, call):
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps(Harm(*call)))
    with pytest.raises(DataError, match="refused"):
        TaskDistribution.load(path)


def test_a_pickle_of_something_else_is_refused(tmp_path):
    path = tmp_path / "list.pkl"
    path.write_bytes(pickle.dumps([1, 2, 3]))
    with pytest.raises(DataError, match="it contains a list"):
        TaskDistribution.load(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "content",
    [b"", b"\x80\x05", b"{", b"[1, 2]", b"null", b"\xff\xfe\x00", b"a: [b", b"hello"],
)
def test_damaged_files_are_errors(tmp_path, suffix, content):
    path = tmp_path / f"damaged.{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged\.") as caught:
        TaskDistribution.load(path)
    assert "not a saved task distribution" in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"seed": "1"},
        {"drawn": None},
        {"data_dir": 5},
        {"configs": None},
        {"configs": [1]},
        {"configs": [{}]},
        {"configs": [{"task_id": "a", "task_family": "sinusoid", "code": "x"}]},
        {"configs": [{"task_id": 1, "task_family": "sinusoid"}]},
        {"configs": [{"task_id": "a", "task_family": "sinusoid", "task_params": []}]},
    ],
    ids=str,
)
def test_a_file_with_wrong_values_is_refused(dist, tmp_path, change):
    path = tmp_path / "t.json"
    path.write_text(json.dumps(dist.__getstate__() | change))
    with pytest.raises(DataError, match="not a saved task distribution"):
        TaskDistribution.load(path)


def test_tasks_that_cannot_be_sampled_here_are_errors(dist, tmp_path):
    path = tmp_path / "t.json"
    state = dist.__getstate__()
    state["configs"][0]["task_family"] = "sinusoids"
    path.write_text(json.dumps(state))
    with pytest.raises(ConfigError, match="did you mean 'sinusoid'"):
        TaskDistribution.load(path)


def test_a_missing_file_is_named_by_its_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as caught:
        TaskDistribution.load("data/validation_tasks.pkl")
    assert str(tmp_path / "data" / "validation_tasks.pkl") in str(caught.value)


@pytest.mark.parametrize("name", ["tasks", "tasks.npz", "tasks.txt"])
def test_another_suffix_is_refused(dist, tmp_path, name):
    with pytest.raises(DataError, match=r"\.json, \.yaml, \.yml, \.pkl, \.pickle"):
        dist.save(tmp_path / name)
    with pytest.raises(DataError, match="got "):
        TaskDistribution.load(tmp_path / name)


def test_a_save_that_fails_leaves_the_old_file(dist, tmp_path, monkeypatch):
    path = tmp_path / "t.json"
    dist.save(path)
    before = path.read_bytes()

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        TaskDistribution(dist.configs[:1]).save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["t.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x8d" + (1 << 30).to_bytes(8, "little"),
        b"\x80\x04\x8e" + (1 << 30).to_bytes(8, "little"),
        b"\x80\x04\x95" + (1 << 40).to_bytes(8, "little") + b".",
        b"\x80\x04Nr" + (1 << 27).to_bytes(4, "little") + b".",
        b"Np134217728\n.",
    ],
    ids=["a string", "bytes", "a frame", "the memo", "the memo in text"],
)
def test_a_pickle_that_asks_for_gigabytes_gets_none(tmp_path, content):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (tmp_path / "tasks.pkl").write_bytes(content)
    with pytest.raises(DataError, match="is damaged, or not a saved"):
        TaskDistribution.load(tmp_path / "tasks.pkl")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 100_000


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_a_file_nested_too_deeply_is_an_error(tmp_path, suffix):
    path = tmp_path / f"tasks{suffix}"
    path.write_text("[" * 100_000)
    with pytest.raises(DataError, match="saved task distribution"):
        TaskDistribution.load(path)

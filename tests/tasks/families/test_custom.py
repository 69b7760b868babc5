"""The user's own tasks: what a function may return, and which may be imported."""

from __future__ import annotations

import itertools
import sys
import textwrap

import numpy as np
import pytest

from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError, DataError, ShapeError
from mlpeft.tasks.build import build_tasks
from mlpeft.tasks.distribution import TaskDistribution
from mlpeft.tasks.episode import TaskConfig
from mlpeft.tasks.families import custom, get_family

SOURCE = """
    import numpy as np
    from mlpeft import Episode

    open(__file__ + ".imported", "w").close()
    number = 5

    def labels(config, rng):
        x = rng.normal(size=(config.support_size + config.query_size, config.input_dim))
        y = (x[:, 0] > config.task_params.get("threshold", 0.0)).astype(int)
        cut = config.support_size
        return Episode(x[:cut], y[:cut], x[cut:], y[cut:])

    def targets(config, rng):
        x, y, query_x, query_y = labels(config, rng)
        return x, x[:, :1].tolist(), query_x, query_x[:, :1]

    def images(config, rng):
        x, y, query_x, query_y = labels(config, rng)
        return x.reshape(-1, 2, 2, 1), y, query_x.reshape(-1, 2, 2, 1), query_y

    def three(config, rng):
        return labels(config, rng)[:3]

    def short(config, rng):
        x, y, query_x, query_y = labels(config, rng)
        return x[1:], y, query_x, query_y

    def too_high(config, rng):
        x, y, query_x, query_y = labels(config, rng)
        return x, y + 1, query_x, query_y

    def infinite(config, rng):
        x, y, query_x, query_y = labels(config, rng)
        return x, y, query_x * np.inf, query_y

    def broken(config, rng):
        return {}["nothing"]
"""

_numbers = itertools.count()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of the user's own that no process has been allowed to import yet."""
    name = f"own_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(SOURCE))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(custom, "_allowed", set())
    yield name
    sys.modules.pop(name, None)


def imported(module, tmp_path):
    return (tmp_path / f"{module}.py.imported").exists()


def task(entry_point, family="custom", input_dim=4, num_classes=2, **params):
    return TaskConfig(
        "a",
        family,
        num_classes,
        input_dim,
        6,
        4,
        {"entry_point": entry_point, **params},
    )


def test_the_function_makes_the_episodes(module):
    dist = TaskDistribution([task(f"{module}:labels", threshold=1.0)])
    _, support_x, _, query_x, query_y = dist.sample_episode()
    assert support_x.shape == (6, 4)
    np.testing.assert_array_equal(np.array(query_x)[:, 0] > 1.0, query_y)
    episode = dist.episode("a", 3)
    assert [array.dtype.name for array in episode] == ["float32", "int32"] * 2
    np.testing.assert_array_equal(episode[0], dist.episode("a", 3)[0])


def test_regression_has_float_targets(module):
    config = task(f"{module}:targets", "custom_regression", num_classes=1)
    episode = TaskDistribution([config]).episode("a", 0)
    assert episode.support_y.shape == (6, 1)
    assert episode.support_y.dtype == np.float32
    assert get_family("custom_regression").regression
    assert not get_family("custom").regression


def test_inputs_may_have_a_shape(module):
    config = task(f"{module}:images", input_shape=[2, 2, 1])
    assert TaskDistribution([config]).episode("a", 0).support_x.shape == (6, 2, 2, 1)
    assert get_family("custom").input_shape(config) == (2, 2, 1)


def test_a_run_takes_its_tasks_from_the_function(module):
    section = {
        "task_families": ["custom"],
        "task_params": {"entry_point": f"{module}:images", "input_shape": [2, 2, 1]},
    }
    tasks = build_tasks(RunConfig.from_dict({"task_distribution": section}))
    assert tasks.input_shape == (2, 2, 1)


def test_a_module_that_is_not_allowed_is_not_imported(module, tmp_path):
    """As on a worker: the configuration came over the wire."""
    section = {
        "task_families": ["custom"],
        "task_params": {"entry_point": f"{module}:labels"},
    }
    config = RunConfig.from_dict({"task_distribution": section})
    with pytest.raises(ConfigError, match="this process may not import"):
        build_tasks(config, allow_modules=())
    with pytest.raises(ConfigError, match="this process may not import"):
        build_tasks(config, allow_modules={"another"})
    assert not imported(module, tmp_path)
    build_tasks(config, allow_modules={module})
    assert imported(module, tmp_path)


@pytest.mark.parametrize("suffix", ["pkl", "json"])
def test_a_file_cannot_have_a_module_imported(module, tmp_path, monkeypatch, suffix):
    path = tmp_path / f"tasks.{suffix}"
    TaskDistribution([task(f"{module}:labels")]).save(path)
    (tmp_path / f"{module}.py.imported").unlink()
    sys.modules.pop(module)
    monkeypatch.setattr(custom, "_allowed", set())
    with pytest.raises(ConfigError, match=rf"custom\.allow\('{module}'\)"):
        TaskDistribution.load(path)
    assert not imported(module, tmp_path)
    custom.allow(module)
    TaskDistribution.load(path).sample_episode()


@pytest.mark.parametrize(
    "entry_point",
    ["", "module", "module:", ":function", "module:a.b", "a/b:c", "../x:y", None, 5],
)
def test_an_entry_point_in_another_format_is_refused(entry_point):
    with pytest.raises(ConfigError, match=r"expected 'package\.module:function'"):
        TaskDistribution([task(entry_point)])


@pytest.mark.parametrize("name", ["missing", "number"])
def test_an_entry_point_that_is_no_function_is_refused(module, name):
    with pytest.raises(ConfigError, match=r"cannot import|expected a function"):
        TaskDistribution([task(f"{module}:{name}")])


def test_a_missing_module_is_an_error():
    with pytest.raises(ConfigError, match="cannot import 'no_such_module_xyz:f'"):
        TaskDistribution([task("no_such_module_xyz:f")])


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        ("three", ShapeError, "expected (support_x, support_y, query_x, query_y)"),
        ("short", ShapeError, "support_x has shape (5, 4), expected (6, 4)"),
        ("too_high", DataError, "labels 1 to 2, expected 0 to 1"),
        ("broken", DataError, "failed with KeyError: 'nothing'"),
        ("infinite", DataError, "query_x has numbers that are not finite"),
    ],
)
def test_arrays_that_are_not_an_episode_are_refused(module, function, error, message):
    dist = TaskDistribution([task(f"{module}:{function}")])
    with pytest.raises(error) as caught:
        dist.episode("a", 0)
    assert message in str(caught.value)


def test_an_input_shape_that_is_not_the_input_dim_is_refused(module):
    with pytest.raises(ConfigError, match=r"\[2, 2, 1\] has 4 numbers, got 5"):
        TaskDistribution([task(f"{module}:images", input_dim=5, input_shape=[2, 2, 1])])

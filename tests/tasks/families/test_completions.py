"""Episodes of prompts and completions."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError, DataError
from mlpeft.tasks.build import build_tasks
from mlpeft.tasks.episode import TaskConfig
from mlpeft.tasks.families import get_family
from mlpeft.tasks.families.completions import Completions
from tests.models.pretrained import tiny_lm

pytest.importorskip("tokenizers", reason="install it with: pip install tokenizers")

LETTERS = "cdefghij"
TASKS = ("m", "n", "o", "p", "q", "r", "s", "t", "u", "v")


@pytest.fixture
def folder(tmp_path):
    """Ten tasks of eight examples: prompt `c`, completion `mmm` in the task `m`.

    An example of the task `q` is longer: `qqqqqqqqqqqq`.
    """
    tiny_lm.write(tmp_path / "model")
    rows = [
        {
            "task": task,
            "prompt": letter,
            "completion": task * (12 if task == "q" else 3),
        }
        for letter in LETTERS
        for task in TASKS
    ]
    text = "\n".join(json.dumps(row) for row in rows)
    (tmp_path / "data.jsonl").write_text(text)
    return tmp_path


def task(folder, task_id="t", **changes) -> TaskConfig:
    given = {
        "path": str(folder / "data.jsonl"),
        "tokenizer": str(folder / "model"),
        "template": "{prompt}? ",
    } | changes.pop("task_params", {})
    params = {name: value for name, value in given.items() if value is not None}
    sizes = {"num_classes": 1, "input_dim": 16, "support_size": 3, "query_size": 5}
    return TaskConfig(task_id, "completions", **(sizes | changes), task_params=params)


def draw(config: TaskConfig, seed: int = 0):
    return Completions().sample(config, np.random.default_rng(seed))


def text(row) -> str:
    return "".join(tiny_lm.TOKENS[number] for number in row).replace("Ġ", " ")


def test_a_model_sees_prompt_and_completion_and_learns_the_completion(folder):
    """Prompt `c? `, completion `mmm`, then the end: the next tokens from `Ġ` on."""
    episode = draw(task(folder, task_params={"task": "m"}))
    for x, y in zip(episode.support_x, episode.support_y, strict=True):
        assert text(x)[1:6] == "? mmm"
        assert text(x)[0] in LETTERS
        assert y.tolist() == [-1, -1, *[tiny_lm.TOKENS.index("m")] * 3, 0, -1, -1]
    assert episode.support_x.dtype == episode.support_y.dtype == np.int32


def test_no_query_is_among_the_supports(folder):
    episode = draw(task(folder))
    prompts = [text(row)[0] for row in (*episode.support_x, *episode.query_x)]
    assert sorted(prompts) == sorted(LETTERS)


def test_an_episode_is_as_long_as_its_longest_example_in_steps_of_eight(folder):
    short, long = (draw(task(folder, task_params={"task": name})) for name in "mq")
    assert short.support_x.shape == (3, 8)
    assert long.support_x.shape == (3, 16)
    assert long.query_y.shape == (5, 16)


def test_an_episode_depends_on_task_and_generator_alone(folder):
    config = task(folder)
    for first, second in zip(draw(config, 3), draw(config, 3), strict=True):
        np.testing.assert_array_equal(first, second)
    different = draw(config, 4)
    assert any(
        not np.array_equal(first, second)
        for first, second in zip(draw(config, 3), different, strict=True)
    )


def test_splits_have_different_tasks(folder):
    found = {
        split: {
            Completions().task_name(task(folder, str(n), task_params={"split": split}))
            for n in range(60)
        }
        for split in ("train", "val", "test")
    }
    assert [len(found[split]) for split in ("train", "val", "test")] == [6, 2, 2]
    assert set.union(*found.values()) == set(TASKS)


def test_a_prompt_with_braces_is_no_template(folder):
    (folder / "data.jsonl").write_text(
        "\n".join(
            json.dumps({"task": "a", "prompt": f"{{{x}}}", "completion": "b"})
            for x in LETTERS
        )
    )
    episode = draw(task(folder, task_params={"task": "a"}))
    assert (episode.support_x != 0).sum() > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"support_size": 6}, "6 and 5 need 11 examples of a task, but .* has 8"),
        ({"input_dim": 8, "task_params": {"task": "q"}}, "15 tokens, more than 8"),
        ({"task_params": {"task": "M"}}, "no task 'M'"),
        ({"task_params": {"template": "say"}}, r"string with \{prompt\} in it once"),
        ({"task_params": {"template": "{prompt}{prompt}"}}, "in it once"),
        ({"task_params": {"path": None}}, r"task_params\.path: expected a string"),
        ({"task_params": {"tokenizer": None}}, r"or set model\.weights"),
        ({"task_params": {"split": "dev"}}, "'dev' is not valid"),
        ({"task_params": {"templates": "x"}}, "did you mean"),
    ],
)
def test_an_invalid_task_is_an_error(folder, changes, message):
    with pytest.raises(ConfigError, match=message):
        Completions().check(task(folder, **changes))


def test_a_split_without_tasks_names_the_others(folder):
    only = {"task": "a", "prompt": "c", "completion": "b"}
    (folder / "data.jsonl").write_text(json.dumps(only))
    with pytest.raises(ConfigError, match=r"no tasks for val, only \{'train': 1\}"):
        Completions().check(task(folder, task_params={"split": "val"}))


def test_a_prompt_of_no_token_is_an_error(folder):
    params = {"template": "{prompt}", "path": str(folder / "empty.jsonl")}
    empty = {"task": "a", "prompt": "", "completion": "b"}
    (folder / "empty.jsonl").write_text(json.dumps(empty))
    with pytest.raises(DataError, match="has no tokens"):
        draw(task(folder, task_params=params))


def test_a_configuration_takes_length_and_tokenizer_from_data_and_model(folder):
    config = RunConfig.from_dict(
        {
            "task_distribution": {
                "task_families": ["completions"],
                "k_shot": 3,
                "query_size": 4,
                "num_train_tasks": None,
                "task_params": {"path": str(folder / "data.jsonl")},
            },
            "model": {"backbone": "causal_lm", "weights": str(folder / "model")},
        }
    )
    tasks = build_tasks(config)
    (template,) = tasks.train.configs
    # `c` and `qqqqqqqqqqqq`: the end is a target, but no input. A newline is no token.
    assert template.input_dim == 13
    assert (template.support_size, template.query_size) == (3, 4)
    assert set(tasks.digests()) == {"data.jsonl", "tokenizer.json"}
    rng = np.random.default_rng(0)
    assert tasks.test.episode(tasks.test.sample_task(rng), 1).query_x.shape[0] == 4


def test_a_worker_reads_the_files_that_came_from_the_coordinator(folder, tmp_path):
    import contextvars

    from mlpeft.files import override_assets

    def elsewhere():
        places = {"here": folder / "data.jsonl", "model": folder / "model"}
        override_assets(places)
        return draw(task(folder, task_params={"path": "here", "tokenizer": "model"}))

    came = contextvars.copy_context().run(elsewhere)
    np.testing.assert_array_equal(came.support_x, draw(task(folder)).support_x)


def test_the_registry_knows_it():
    assert isinstance(get_family("completions"), Completions)

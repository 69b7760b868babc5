"""Configuration: one section per concern, every key checked."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpeft import MetaLearningConfig
from mlpeft.config import RunConfig, parse_yaml
from mlpeft.errors import ConfigError

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_of_the_project_is_sound(path):
    config = RunConfig.load(path)
    assert config.run.name == path.stem
    assert f"--config configs/{path.name}" in path.read_text(encoding="utf-8")


def test_the_default_file_has_the_guides_sections_and_keys():
    tree = parse_yaml(CONFIGS[[p.stem for p in CONFIGS].index("default")].read_text())
    assert {section: set(keys) for section, keys in tree.items()} == {
        "meta_learning": {
            "algorithm",
            "meta_batch_size",
            "num_meta_iterations",
            "inner_lr",
            "outer_lr",
            "num_inner_steps",
            "eval_interval",
            "save_interval",
        },
        "task_distribution": {
            "task_families",
            "k_shot",
            "query_size",
            "num_train_tasks",
            "num_val_tasks",
        },
        "model": {"backbone", "hidden_dim", "num_layers"},
        "logging": {"log_dir", "log_level", "wandb_enabled"},
        "paths": {"checkpoint_dir", "data_dir"},
    }


@pytest.mark.parametrize(
    "text", ["1e-3", "1E-3", "1.e-3", "0.001", "+1e-3", ".001", "1.0e-03"]
)
def test_numbers_in_scientific_notation_are_numbers(text):
    assert parse_yaml(f"a: {{b: {text}}}") == {"a": {"b": 0.001}}


@given(st.floats(1e-12, 1e12))
def test_a_float_survives_yaml(value):
    config = RunConfig.from_dict({"meta_learning": {"inner_lr": value}})
    again = RunConfig.from_dict(parse_yaml(config.to_yaml()))
    assert again == config


def test_words_and_versions_are_not_parsed_as_numbers():
    tree = parse_yaml("a: {b: 1.2.3, c: e3, d: abc, e: '1e-3', f: 12}")
    assert tree == {"a": {"b": "1.2.3", "c": "e3", "d": "abc", "e": "1e-3", "f": 12}}


def test_all_problems_are_reported_at_once_with_the_nearest_name(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(
        "meta_learning: {inner_lrr: 0.1, outer_lr: fast, algorithm: reptil}\n"
        "modle: {}\n"
    )
    with pytest.raises(ConfigError) as caught:
        RunConfig.load(file, ["model.hiden_dim=3", "nonsense"])
    text = str(caught.value)
    assert len(caught.value.problems) == 6
    assert "meta_learning.inner_lrr: unknown key; did you mean 'inner_lr'?" in text
    assert "meta_learning.outer_lr: " in text
    assert "'fast'" in text
    assert "did you mean 'reptile'?" in text
    assert "modle: unknown key; did you mean 'model'?" in text
    assert "model.hiden_dim: unknown key; did you mean 'hidden_dim'?" in text
    assert "--set nonsense: expected section.key=value" in text
    assert str(file) in text


def test_overrides_come_before_the_file_and_the_file_before_defaults(tmp_path):
    file = tmp_path / "some.yaml"
    file.write_text("meta_learning: {inner_lr: 0.5, outer_lr: 0.5}\n")
    config = RunConfig.load(file, ["meta_learning.inner_lr=1e-2", "run.seed=7"])
    assert config.meta_learning.inner_lr == 0.01
    assert config.meta_learning.outer_lr == 0.5
    assert config.meta_learning.num_inner_steps == 5
    assert config.run.seed == 7
    assert config.run.name == "some"


def test_an_override_reaches_into_task_params():
    config = RunConfig.from_dict({}, ["task_distribution.task_params.noise=0.1"])
    assert config.task_distribution.task_params == {"noise": 0.1}


def test_a_missing_file_is_named_by_its_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "no.yaml"))):
        RunConfig.load("no.yaml")


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "just words"])
def test_a_file_that_is_no_mapping_is_a_clear_error(tmp_path, text):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        RunConfig.load(file)


def test_keys_that_do_not_fit_together_are_an_error():
    with pytest.raises(ConfigError, match="shard_size: 9 is more than"):
        RunConfig.from_dict({"compute": {"shard_size": 9}})


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"cluster": {"mode": "async", "max_staleness": 0}}, "mode async lives on it"),
        (
            {
                "cluster": {"mode": "quorum"},
                "meta_learning": {"aggregation": "coordinate_median"},
                "compute": {"shard_size": 1},
            },
            "coordinate_median outvotes; set mode: sync",
        ),
    ],
)
def test_rounds_that_do_not_wait_go_with_some_keys_only(keys, says):
    with pytest.raises(ConfigError, match=says):
        RunConfig.from_dict(keys)


def test_yaml_cannot_make_objects():
    with pytest.raises(ConfigError, match="not valid YAML"):
        parse_yaml("a: !!python/object/apply:os.getcwd []")


def test_the_flat_configuration_reads_sets_and_writes_every_key():
    config = MetaLearningConfig(inner_lr=0.5)
    config.num_meta_iterations = 2000
    assert (config.inner_lr, config.num_meta_iterations) == (0.5, 2000)
    assert config.to_dict()["inner_lr"] == 0.5
    assert MetaLearningConfig(**config.to_dict()) == config
    assert config.to_run_config().meta_learning.num_meta_iterations == 2000


def test_the_flat_configuration_is_read_from_a_file(tmp_path):
    (tmp_path / "a.yaml").write_text("meta_learning: {inner_lr: 1e-3}")
    assert MetaLearningConfig.from_yaml(tmp_path / "a.yaml").inner_lr == 1e-3
    (tmp_path / "b.yaml").write_text("meta_learning: {inner_lrr: 1}\nmodle: {}")
    with pytest.raises(ConfigError) as caught:
        MetaLearningConfig.from_yaml(tmp_path / "b.yaml")
    assert len(caught.value.problems) == 2


def test_the_flat_configuration_refuses_what_a_file_would():
    config = MetaLearningConfig()
    with pytest.raises(ConfigError, match="did you mean 'inner_lr'"):
        config.inner_lrr = 1.0
    with pytest.raises(ConfigError, match="greater than 0"):
        config.inner_lr = -1.0
    with pytest.raises(AttributeError, match="did you mean 'inner_lr'"):
        _ = config.inner_lrr
    assert config.inner_lr == 0.01


def test_a_section_without_keys_is_an_empty_one(tmp_path):
    (tmp_path / "a.yaml").write_text("run:\nmeta_learning:\n  # inner_lr: 1\n")
    assert RunConfig.load(tmp_path / "a.yaml") == RunConfig.from_dict(
        {"run": {"name": "a"}}
    )


def test_a_file_that_is_no_text_is_called_so(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\x80\x81")
    with pytest.raises(ConfigError, match="not a text file"):
        RunConfig.load(tmp_path / "a.yaml")


def test_a_key_that_is_given_twice_is_refused_with_both_lines():
    text = "model:\n  hidden_dim: 4\n  num_layers: 2\n  hidden_dim: 5\nmodel: {}\n"
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text)
    assert caught.value.problems == (
        "hidden_dim: given twice, in line 2 and in line 4; remove one",
        "model: given twice, in line 1 and in line 5; remove one",
    )


def test_a_merged_key_may_be_overridden():
    text = "a: &base {x: 1, y: 2}\nb:\n  <<: *base\n  y: 3\n"
    assert parse_yaml(text)["b"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    ("file", "name"), [("my run.yaml", "my-run"), ("ü.yaml", "run"), ("a.yaml", "a")]
)
def test_a_run_is_named_after_its_file(tmp_path, file, name):
    path = tmp_path / file
    path.touch()
    assert RunConfig.load(path).run.name == name


def test_aliases_of_aliases_are_counted_before_anything_looks_at_them():
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(ConfigError, match="its aliases make it more than 100000"):
        parse_yaml("\n".join(lines))


def test_a_document_that_contains_itself_is_an_error():
    with pytest.raises(ConfigError, match="its aliases"):
        parse_yaml("a: &a [*a]")


def test_an_alias_that_saves_typing_is_read():
    tree = parse_yaml("a: &a {b: 1}\nc: *a\nd: {<<: *a, e: 2}")
    assert tree == {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}}


def test_any_key_is_unset_by_null():
    """Where null is a value it is meant, elsewhere the default holds again."""
    tree = {
        "model": {"hidden_dim": 5},
        "task_distribution": {"task_params": {"noise": 0.5}},
    }
    changes = ["model.hidden_dim=null", "task_distribution.num_train_tasks=null"]
    changes.append("task_distribution.task_params.noise=null")
    config = RunConfig.from_dict(tree, changes)
    assert config.model.hidden_dim == RunConfig().model.hidden_dim
    assert config.task_distribution.num_train_tasks is None
    assert config.task_distribution.task_params == {}
    with pytest.raises(ConfigError, match="unknown key"):
        RunConfig.from_dict({}, ["model.dim_hidden=null"])

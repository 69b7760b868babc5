"""What `mlpeft queue add` adds."""

import pytest

from mlpeft.errors import ConfigError
from mlpeft.queue.plan import planned_runs


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "digits.yaml"
    path.write_text("run: {seed: 3}\n")
    return path


def test_one_configuration_is_one_run_under_its_own_name(file):
    (config,) = planned_runs(file, ["model.hidden_dim=8"])
    assert (config.run.name, config.run.seed) == ("digits", 3)
    assert config.model.hidden_dim == 8


def test_every_setting_gets_every_seed_and_a_name_of_its_own(file):
    configs = planned_runs(
        file, seeds=2, sweep=["meta_learning.inner_lr=0.1,0.2", "model.hidden_dim=8"]
    )
    assert [
        (it.run.name, it.run.seed, it.meta_learning.inner_lr) for it in configs
    ] == [
        ("digits_inner_lr-0.1_hidden_dim-8_seed3", 3, 0.1),
        ("digits_inner_lr-0.1_hidden_dim-8_seed4", 4, 0.1),
        ("digits_inner_lr-0.2_hidden_dim-8_seed3", 3, 0.2),
        ("digits_inner_lr-0.2_hidden_dim-8_seed4", 4, 0.2),
    ]


@pytest.mark.parametrize(
    ("sweep", "told"),
    [
        ("meta_learning.inner_lr", "expected SECTION.KEY=VALUE,VALUE"),
        ("meta_learning.inner_lr=", "expected SECTION.KEY=VALUE,VALUE"),
        ("meta_learning.inner_lr=0.1,no", "with inner_lr=no"),
        ("meta_learning.iner_lr=0.1", "did you mean 'inner_lr'"),
        ("meta_learning.inner_lr=" + ",".join(map(str, range(1, 2000))), "at most"),
        ('task_distribution.task_families=["a/b"],["a-b"]', "task_families"),
    ],
)
def test_a_sweep_that_cannot_be_says_what_is_wrong(file, sweep, told):
    with pytest.raises(ConfigError, match=told):
        planned_runs(file, sweep=[sweep])

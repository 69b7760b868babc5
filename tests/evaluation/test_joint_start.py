"""The baseline of a meta-learned run, trained on demand."""

from dataclasses import replace

import numpy as np
import pytest

from mlpeft import params
from mlpeft.commands.plot import compared
from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError
from mlpeft.evaluation.evaluate import compare, comparison_size
from mlpeft.evaluation.joint_start import joint_config, trained_joint
from mlpeft.params import write_npz
from mlpeft.training.loop import train
from mlpeft.training.trained import load_trained
from mlpeft.work import RoundInterruptedError

TINY = {
    "meta_learning": {
        "algorithm": "fomaml",
        "num_meta_iterations": 6,
        "inner_lr": 0.1,
        "num_inner_steps": 3,
        "eval_interval": 3,
    },
    "task_distribution": {"num_train_tasks": 4, "num_val_tasks": 2, "query_size": 6},
    "model": {"hidden_dim": 8},
    "evaluation": {"num_val_episodes": 3, "num_test_episodes": 4},
    "compute": {"strategy": "loop"},
}


def config(folder, *changes):
    return RunConfig.from_dict(TINY, [f"paths.checkpoint_dir={folder}", *changes])


@pytest.fixture
def trained(tmp_path):
    return load_trained(train(config(tmp_path)).run_dir)


def test_it_computes_as_many_gradients_of_the_same_examples(tmp_path):
    """FOMAML: three inner ones and that of the queries. Reptile has seen no query."""
    made = joint_config(config(tmp_path), tmp_path / "run")
    assert made.meta_learning.num_meta_iterations == 6 * 4
    assert made.meta_learning.eval_interval == 3 * 4
    assert made.task_distribution.train_query_size is None
    reptile = config(tmp_path, "meta_learning.algorithm=reptile")
    made = joint_config(reptile, tmp_path / "run")
    assert made.meta_learning.num_meta_iterations == 6 * 3
    assert made.task_distribution.train_query_size == 0


def test_it_is_trained_once_and_goes_on_where_it_was_stopped(trained):
    asked = iter([False, False, True])
    with pytest.raises(RoundInterruptedError, match=r"after 2 of 24 .* --no-joint"):
        trained_joint(trained, should_stop=lambda: next(asked))
    first = trained_joint(trained)
    run_dir = first.path.parents[1]
    assert run_dir == trained.path.parents[1].absolute() / "joint"
    written = (run_dir / "metrics.jsonl").read_bytes()
    # What is asked of the comparison does not change what it is compared with.
    other = load_trained(trained.path, overrides=["task_distribution.k_shot=2"])
    again = trained_joint(other)
    assert (run_dir / "metrics.jsonl").read_bytes() == written
    assert params.digest(again.meta) == params.digest(first.meta)
    assert again.config == other.config


def test_a_comparison_has_it_at_its_best_step_size(trained):
    seen = []
    joint = trained_joint(trained)
    row = compare(trained, [5], 4, joint=joint, progress=seen.append)[5]
    assert seen[-1] == comparison_size(trained.config, [5], 4, joint=True)
    assert row.over_joint == pytest.approx(row.meta.acc[-1] - row.joint.acc[-1])
    assert row.joint_lr in [pytest.approx(0.1 * f) for f in (0.03, 0.1, 0.3, 1, 3)]
    record = {"k_shots": {"5": row.to_dict()}}
    assert set(compared(record)) == {"meta-learned", "fresh, tuned", "fresh", "joint"}
    without = compare(trained, [5], 4)[5]
    assert without.joint is None
    assert np.isnan(without.over_joint)
    assert "joint" not in compared({"k_shots": {"5": without.to_dict()}})


def test_a_jointly_trained_start_is_called_that(trained):
    joint = load_trained(trained_joint(trained).path)
    row = compare(joint, [5], 4)[5]
    assert row.name == "joint"
    record = {"k_shots": {"5": row.to_dict()}}
    assert list(compared(record)) == ["joint", "fresh, tuned", "fresh"]
    assert "meta-learned" not in row._repr_html_()


def test_a_file_of_parameters_has_it_beside_it(trained, tmp_path):
    file = tmp_path / "elsewhere" / "theta.npz"
    write_npz(file, trained.meta)
    found = trained_joint(load_trained(file, trained.path.parents[1] / "config.yaml"))
    assert found.path.parents[1] == file.parent / "joint"


def test_a_runs_folder_cannot_have_other_code_imported(tmp_path, monkeypatch):
    """Its config.yaml names a module; the one that was given and checked does not."""
    run_dir = train(config(tmp_path)).run_dir
    (tmp_path / "planted.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    given, own = tmp_path / "mine.yaml", run_dir / "config.yaml"
    given.write_text(own.read_text())
    planted = own.read_text().replace("backbone: linear", "backbone: planted:make")
    own.write_text(planted)
    assert "planted" in planted
    trained = load_trained(run_dir, given)
    assert trained_joint(trained).path.parents[1] == run_dir / "joint"


def test_where_there_is_none_it_is_said(tmp_path):
    joint = train(config(tmp_path / "a", "meta_learning.algorithm=joint")).run_dir
    assert trained_joint(load_trained(joint)) is None
    pytest.importorskip("sklearn", reason="install it with: pip install scikit-learn")
    digits = (
        "model.backbone=logistic",
        "task_distribution.task_families=[digits]",
        "task_distribution.num_classes=3",
        "task_distribution.k_shot=1",
    )
    run = train(config(tmp_path / "b", *digits)).run_dir
    with pytest.raises(ConfigError, match=r"give the model a method embed\(x\)"):
        trained_joint(load_trained(run))


@pytest.mark.parametrize("algorithm", ["meta_sgd", "protonet"])
def test_a_start_that_is_more_or_less_than_the_model_has_none(trained, algorithm):
    config = trained.config.with_changes(meta_learning={"algorithm": algorithm})
    assert trained_joint(replace(trained, config=config)) is None


def test_a_first_order_start_has_one_that_learns_from_queries(trained):
    changes = {"algorithm": "maml", "first_order": True, "num_inner_steps": 2}
    config = trained.config.with_changes(meta_learning=changes)
    joint = joint_config(config, trained.path)
    assert joint.task_distribution.train_query_size != 0
    assert not joint.meta_learning.first_order

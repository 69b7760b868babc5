"""ReptileLearner: the Python API of the guide."""

import inspect

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mlpeft import (
    ReptileLearner,
    SimpleClassifier,
    TaskConfig,
    TaskDistribution,
    cross_entropy_loss,
    mse_loss,
    params,
)
from mlpeft.config import MetaLearningSection
from mlpeft.errors import CheckpointError, ConfigError, ShapeError
from mlpeft.meta.functional import get_params
from mlpeft.models.build import seeded


def tasks(number=8):
    return TaskDistribution(
        [
            TaskConfig(
                task_id=f"task_{i}",
                task_family="linear_classification",
                num_classes=2,
                input_dim=2,
                support_size=5,
                query_size=20,
            )
            for i in range(number)
        ],
        seed=42,
    )


def learner(**more):
    with seeded(3):
        model = SimpleClassifier(input_dim=2, hidden_dim=16, num_classes=2)
    return ReptileLearner(model, **more)


def episodes(number=4):
    dist = tasks()
    return [dist.sample_episode()[1:] for _ in range(number)]


def test_a_step_moves_the_model_and_says_how_far():
    ours = learner(outer_lr=0.5, inner_lr=0.1)
    before = params.to_numpy(get_params(ours.model))
    before = {name: leaf.copy() for name, leaf in before.items()}
    metrics = ours.meta_train_step(episodes(), cross_entropy_loss)
    after = params.to_numpy(get_params(ours.model))
    distance = params.global_norm(params.subtract(after, before))
    assert set(metrics) == {"query_loss", "support_loss", "param_diff"}
    assert metrics["param_diff"] == pytest.approx(distance, rel=1e-3)
    assert distance > 0
    assert 0 < metrics["query_loss"] < 2


def test_defaults_are_those_of_the_configuration():
    signature = inspect.signature(ReptileLearner).parameters
    section = MetaLearningSection()
    shared = signature.keys() & MetaLearningSection.model_fields.keys()
    assert {"inner_lr", "outer_lr", "num_inner_steps", "inner_state"} < shared
    for name in shared:
        assert signature[name].default == getattr(section, name)


def test_evaluation_leaves_the_model_and_scores_the_promised_steps():
    ours = learner(num_inner_steps=3)
    before = params.digest(get_params(ours.model))
    results = ours.evaluate(episodes(), cross_entropy_loss)
    assert params.digest(get_params(ours.model)) == before
    expected = {
        f"step_{k}_{what}" for k in (0, 1, 3, 5, 10) for what in ("acc", "loss")
    }
    assert set(results) == expected | {"final_loss", "final_acc"}
    assert results["final_loss"] == results["step_3_loss"]


def test_meta_learning_beats_the_start_it_came_from():
    ours = learner(inner_lr=0.1, outer_lr=0.5)
    dist = tasks(20)
    judged = [dist.sample_episode()[1:] for _ in range(40)]
    before = ours.evaluate(judged, cross_entropy_loss)
    for _ in range(150):
        batch = [dist.sample_episode()[1:] for _ in range(4)]
        ours.meta_train_step(batch, cross_entropy_loss)
    after = ours.evaluate(judged, cross_entropy_loss)
    assert after["step_5_acc"] > before["step_5_acc"] + 0.05
    assert after["step_5_loss"] < before["step_5_loss"]


def test_regression_has_losses_and_no_accuracy():
    with seeded(1):
        model = SimpleClassifier(1, 16, 1, activation="tanh")
    ours = ReptileLearner(model, inner_lr=0.02)
    x = np.linspace(-5, 5, 10, dtype=np.float32)[:, None]
    episode = (x, np.sin(x), x, np.sin(x))
    results = ours.evaluate([episode], mse_loss)
    assert not any(name.endswith("_acc") for name in results)
    assert results["step_10_loss"] < results["step_0_loss"]


def test_episodes_without_queries_train_but_have_no_query_loss():
    support = [
        (*episode[:2], *(part[:0] for part in episode[2:])) for episode in episodes()
    ]
    ours = learner()
    metrics = ours.meta_train_step(support, cross_entropy_loss)
    assert np.isnan(metrics["query_loss"])
    assert metrics["param_diff"] > 0
    with pytest.raises(ValueError, match="without queries"):
        ours.evaluate(support, cross_entropy_loss)


def test_no_episodes_are_an_error_that_shows_how_to_sample():
    with pytest.raises(ValueError, match="sample_episode"):
        learner().meta_train_step([], cross_entropy_loss)
    with pytest.raises(ValueError, match="no episodes"):
        learner().evaluate([], cross_entropy_loss)


@pytest.mark.parametrize(
    "wrong", [{"num_inner_steps": 0}, {"inner_lr": 0.0}, {"inner_optimizer": "lion"}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        learner(**wrong)


def test_shapes_that_do_not_fit_the_model_are_named():
    x, y = mx.zeros((5, 3)), mx.zeros(5, mx.int32)
    with pytest.raises(ValueError, match=r"\(5, 3\).*input_dim=2"):
        learner().meta_train_step([(x, y, x, y)], cross_entropy_loss)


def test_a_saved_start_is_loaded_byte_for_byte(tmp_path):
    ours = learner(inner_optimizer="adam", inner_state="carry")
    ours.meta_train_step(episodes(), cross_entropy_loss)
    path = tmp_path / "new" / "folder" / "theta.npz"
    ours.save(path)
    other = ReptileLearner(
        SimpleClassifier(2, 16, 2), inner_optimizer="adam", inner_state="carry"
    )
    other.load(path)
    assert params.digest(get_params(other.model)) == params.digest(
        get_params(ours.model)
    )
    judged = episodes()
    assert other.evaluate(judged, cross_entropy_loss) == ours.evaluate(
        judged, cross_entropy_loss
    )


def test_a_start_of_another_model_is_refused_and_changes_nothing(tmp_path):
    path = tmp_path / "theta.npz"
    learner().save(path)
    other = ReptileLearner(SimpleClassifier(2, 8, 2))
    before = params.digest(get_params(other.model))
    with pytest.raises(ValueError, match=r"\(16,\).*\(8,\)"):
        other.load(path)
    assert params.digest(get_params(other.model)) == before


def test_a_file_that_is_missing_or_no_checkpoint_is_said_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        learner().load(tmp_path / "no.npz")
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(CheckpointError, match=r"broken\.npz"):
        learner().load(broken)


def test_any_module_works():
    class Custom(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [nn.Linear(2, 8), nn.LayerNorm(8), nn.Linear(8, 2)]

        def __call__(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    ours = ReptileLearner(Custom(), outer_lr=0.1)
    assert ours.meta_train_step(episodes(), cross_entropy_loss)["param_diff"] > 0


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("inner_state", "kept"),
        ("strategy", "fast"),
        ("inner_batch_size", 0),
        ("inner_beta1", 1.0),
        ("inner_lr", float("nan")),
        ("outer_lr", -1.0),
        ("num_inner_steps", 2.5),
        ("seed", -1),
    ],
)
def test_a_setting_that_is_none_is_refused_by_name(setting, value):
    with pytest.raises(ConfigError, match=setting):
        learner(**{setting: value})


@pytest.mark.parametrize("call", ["meta_train_step", "evaluate"])
@pytest.mark.parametrize(
    ("label", "told"),
    [(2, "from 0 to 2.*2 outputs"), (-1, "from -1 to"), (0.0, "floats, expected int")],
)
def test_a_label_that_no_output_stands_for_is_refused(call, label, told):
    """It would give a wrong loss, even a negative one, and no error."""
    support_x, support_y, query_x, query_y = map(np.asarray, episodes(1)[0])
    wrong = np.zeros(query_y.shape, type(label))
    wrong[0] = label
    with pytest.raises(ValueError, match=told):
        getattr(learner(), call)(
            [(support_x, support_y, query_x, wrong)], cross_entropy_loss
        )


def test_an_episode_with_its_config_is_refused_with_what_to_leave_out():
    with pytest.raises(ValueError, match=r"5 parts.*sample_episode\(\)\[1:\]"):
        learner().meta_train_step([tasks().sample_episode()], cross_entropy_loss)


def test_labels_are_the_loss_functions_own_affair():
    """Only of cross_entropy_loss is it known what labels it takes."""
    support_x, support_y, query_x, query_y = episodes(1)[0]
    own = learner().meta_train_step(
        [(support_x, support_y + 5, query_x, query_y + 5)],
        lambda logits, labels: cross_entropy_loss(logits, labels - 5),
    )
    assert 0 < own["query_loss"] < 2


@pytest.mark.parametrize(("outer_lr", "times"), [(0.001, 1), (0.5, 0)])
def test_an_outer_step_that_hardly_moves_theta_is_told_once(caplog, outer_lr, times):
    x = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
    y = np.array([0, 1] * 3)
    learner = ReptileLearner(
        SimpleClassifier(2, 8, 2), 0.1, outer_lr, 1, strategy="loop"
    )
    for _ in range(3):
        learner.meta_train_step([(x, y, x, y)], cross_entropy_loss)
    assert caplog.text.count("hardly learn") == times


@pytest.mark.parametrize("strategy", ["loop", "compiled", "vmap"])
@pytest.mark.parametrize("call", ["meta_train_step", "evaluate"])
@pytest.mark.parametrize(
    ("returned", "told"),
    [
        (lambda y: mx.zeros(y.shape), r"an array of shape \(\d+,\)"),
        (lambda _: 3.0, "3.0"),
        (lambda _: (mx.array(1.0), 2), r"\("),
    ],
)
def test_a_loss_that_is_no_scalar_is_refused(strategy, call, returned, told):
    def my_loss(outputs, targets):
        return returned(targets)

    started = learner(strategy=strategy)
    with pytest.raises(ShapeError, match=f"loss my_loss returned {told}.*mx.mean"):
        getattr(started, call)(episodes(), my_loss)

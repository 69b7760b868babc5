"""Models, losses and operations."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mlpeft import params
from mlpeft.config import ModelSection
from mlpeft.errors import ConfigError, ShapeError
from mlpeft.meta.functional import get_params
from mlpeft.models.build import build_model
from mlpeft.models.conv4 import Conv4, max_pool2x2
from mlpeft.models.losses import accuracy, cross_entropy_loss, mse_loss
from mlpeft.models.mlp import LinearClassifier, SimpleClassifier
from mlpeft.models.ops import batch_norm, conv3x3_stride2
from mlpeft.seeds import Purpose


def random(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return mx.array(rng.normal(size=shape).astype(np.float32))


def test_cross_entropy_is_the_mean_negative_log_probability():
    """Logits (0, log 3): probabilities 1/4 and 3/4."""
    logits = mx.array([[0.0, np.log(3.0)], [0.0, np.log(3.0)]])
    loss = cross_entropy_loss(logits, mx.array([0, 1]))
    assert loss.item() == pytest.approx((np.log(4) + np.log(4 / 3)) / 2, rel=1e-6)


def test_cross_entropy_bears_large_logits():
    assert cross_entropy_loss(mx.array([[1e4, -1e4]]), mx.array([0])).item() == 0.0


def test_squared_error_is_the_mean_over_examples_and_outputs():
    assert mse_loss(mx.array([[1.0, 2.0]]), mx.array([[0.0, 4.0]])).item() == 2.5


def test_accuracy_is_the_share_of_right_answers():
    logits = mx.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert accuracy(logits, mx.array([0, 1, 1, 1])).item() == 0.75


def sequences() -> tuple[mx.array, mx.array]:
    """Two sequences of three tokens, a vocabulary of two; four tokens count.

    The likeliest token is 0, 1, 0 in both.
    """
    one = [[2.0, 0.0], [0.0, 1.0], [0.5, 0.0]]
    return mx.array([one, one]), mx.array([[-1, 1, 0], [0, 0, -1]])


def test_the_loss_of_sequences_is_the_mean_over_tokens_that_count():
    """`-log softmax` of the right one of two logits is log(1 + exp(other - right))."""
    gaps = np.array([-1.0, -0.5, -2.0, 1.0])  # of tokens 1, 0 and 0, 0
    loss = cross_entropy_loss(*sequences())
    assert loss.item() == pytest.approx(np.log1p(np.exp(gaps)).mean(), rel=1e-6)


def test_tokens_that_do_not_count_have_no_gradient():
    logits, labels = sequences()
    grad = np.array(mx.grad(cross_entropy_loss)(logits, labels))
    assert (grad[np.array(labels) == -1] == 0).all()
    assert (grad[np.array(labels) != -1] != 0).all()


def test_sequences_without_a_token_that_counts_have_no_loss():
    logits, labels = sequences()
    assert cross_entropy_loss(logits, mx.full(labels.shape, -1)).item() == 0.0


def test_a_sequence_is_right_if_every_token_that_counts_is():
    assert accuracy(*sequences()).item() == 0.5


def test_the_loss_of_half_precision_logits_is_computed_in_float32():
    logits, labels = sequences()
    assert cross_entropy_loss(logits.astype(mx.bfloat16), labels).dtype == mx.float32


@pytest.mark.parametrize("score", [cross_entropy_loss, accuracy])
def test_labels_that_do_not_fit_are_refused_with_both_shapes(score):
    with pytest.raises(ValueError, match=r"\(4, 2\).*\(3,\)"):
        score(mx.zeros((4, 2)), mx.zeros(3, mx.int32))


def test_targets_that_do_not_fit_are_refused_with_both_shapes():
    """(4, 1) against (4,) would broadcast to (4, 4) and train on nonsense."""
    with pytest.raises(ShapeError, match=r"\(4, 1\).*\(4,\)"):
        mse_loss(mx.zeros((4, 1)), mx.zeros(4))


def test_the_simple_classifier_has_two_hidden_layers():
    model = SimpleClassifier(input_dim=10, hidden_dim=128, num_classes=3)
    shapes = {name: leaf.shape for name, leaf in get_params(model).items()}
    assert shapes == {
        "layers.0.weight": (128, 10),
        "layers.0.bias": (128,),
        "layers.1.weight": (128, 128),
        "layers.1.bias": (128,),
        "layers.2.weight": (3, 128),
        "layers.2.bias": (3,),
    }
    assert model(mx.zeros((5, 10))).shape == (5, 3)


@pytest.mark.parametrize("model", [SimpleClassifier(4), LinearClassifier(4)])
def test_images_are_flattened_and_other_sizes_refused(model):
    assert model(mx.zeros((5, 2, 2, 1))).shape == (5, 2)
    with pytest.raises(ValueError, match=r"invalid shape.*\(5, 3\).*input_dim=4"):
        model(mx.zeros((5, 3)))


@pytest.mark.parametrize(("height", "width"), [(28, 28), (7, 7), (6, 5), (2, 3)])
def test_the_convolution_is_mlxs_with_same_padding(height, width):
    x, weight = random(3, height, width, 2), random(4, 3, 3, 2, seed=1)
    pads = [(0, 0), *[(1, 1) if n % 2 else (0, 1) for n in (height, width)], (0, 0)]
    expected = mx.conv2d(mx.pad(x, pads), weight, stride=2)
    np.testing.assert_allclose(conv3x3_stride2(x, weight), expected, atol=1e-5)


def test_the_convolutions_gradients_are_mlxs():
    x, weight = random(2, 6, 6, 2), random(4, 3, 3, 2, seed=1)
    pads = [(0, 0), (0, 1), (0, 1), (0, 0)]

    def ours(x, weight):
        return mx.sum(mx.square(conv3x3_stride2(x, weight)))

    def theirs(x, weight):
        return mx.sum(mx.square(mx.conv2d(mx.pad(x, pads), weight, stride=2)))

    for mine, reference in zip(
        mx.grad(ours, (0, 1))(x, weight),
        mx.grad(theirs, (0, 1))(x, weight),
        strict=True,
    ):
        np.testing.assert_allclose(mine, reference, rtol=1e-4, atol=1e-3)


def test_batch_norm_is_mlxs_in_training():
    x = random(3, 4, 4, 2) * 3 + 1
    gamma, beta = mx.array([2.0, 0.5]), mx.array([1.0, -1.0])
    reference = nn.BatchNorm(2, eps=1e-3)
    reference.weight, reference.bias = gamma, beta
    np.testing.assert_allclose(
        batch_norm(x, gamma, beta), reference(x), rtol=1e-4, atol=1e-5
    )


def test_batch_norms_gradients_agree_with_finite_differences():
    x, gamma, beta = random(2, 2, 2, 3), random(3, seed=1), random(3, seed=2)
    mask = random(2, 2, 2, 3, seed=3)

    def total(*args):
        return mx.sum(batch_norm(*args) * mask)

    grads = mx.grad(total, (0, 1, 2))(x, gamma, beta)
    for place, (grad, arg) in enumerate(zip(grads, (x, gamma, beta), strict=True)):
        flat = np.array(arg).ravel()
        for index in range(len(flat)):
            sides = []
            for step in (1e-2, -1e-2):
                changed = flat.copy()
                changed[index] += step
                args = [x, gamma, beta]
                args[place] = mx.array(changed).reshape(arg.shape)
                sides.append(total(*args).item())
            slope = (sides[0] - sides[1]) / 2e-2
            assert np.array(grad).ravel()[index] == pytest.approx(
                slope, abs=2e-2, rel=2e-2
            )


def test_conv4_is_the_papers_network():
    """28 -> 14 -> 7 -> 4 -> 2, 64 filters; a 256-wide head; no bias before the norm."""
    model = Conv4(num_classes=5)
    assert model(mx.zeros((3, 28, 28, 1))).shape == (3, 5)
    expected = 9 * 64 + 3 * 9 * 64 * 64 + 4 * 2 * 64 + 256 * 5 + 5
    assert params.count(get_params(model)) == expected
    with pytest.raises(ShapeError, match=r"\(3, 14, 14, 1\).*\(28, 28, 1\)"):
        model(mx.zeros((3, 14, 14, 1)))


def test_pooled_conv4_is_the_papers_network_of_mini_imagenet():
    """84 -> 42 -> 21 -> 11 -> 6, 32 filters; a 1152-wide head."""
    model = Conv4(5, 84, 3, 32, pooled=True)
    assert model(mx.zeros((2, 84, 84, 3))).shape == (2, 5)
    expected = 9 * 3 * 32 + 3 * 9 * 32 * 32 + 4 * 2 * 32 + 1152 * 5 + 5
    assert params.count(get_params(model)) == expected


def test_pooling_takes_the_largest_and_pads_odd_sizes_at_the_end():
    x = mx.array(-np.arange(9.0).reshape(1, 3, 3, 1))
    pooled = np.array(max_pool2x2(x))[0, :, :, 0]
    np.testing.assert_array_equal(pooled, [[0, -2], [-6, -8]])


def build(backbone, shape=(4,), outputs=3, seed=0, **more):
    return build_model(
        ModelSection(backbone=backbone, hidden_dim=8), shape, outputs, seed, **more
    )


def test_parameters_depend_on_the_seed_and_purpose_alone():
    first = params.digest(get_params(build("linear")))
    mx.random.normal((3,))
    assert params.digest(get_params(build("linear"))) == first
    assert params.digest(get_params(build("linear", seed=1))) != first
    baseline = build("linear", purpose=Purpose.BASELINE)
    assert params.digest(get_params(baseline)) != first


def test_building_a_model_leaves_the_global_generator_alone():
    mx.random.seed(7)
    expected = mx.random.normal((3,)).tolist()
    mx.random.seed(7)
    build("linear")
    assert mx.random.normal((3,)).tolist() == expected


def test_backbones_are_built_for_the_tasks():
    assert build("tanh").activation == "tanh"
    assert build("logistic")(mx.zeros((2, 4))).shape == (2, 3)
    assert build("conv4", (8, 8, 1))(mx.zeros((2, 8, 8, 1))).shape == (2, 3)
    assert build("conv4_pool", (8, 8, 3))(mx.zeros((2, 8, 8, 3))).shape == (2, 3)


def test_an_unknown_backbone_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'conv4'"):
        build("conv5")


def test_conv4_refuses_inputs_that_are_no_images():
    with pytest.raises(ConfigError, match=r"square images.*\(4,\)"):
        build("conv4")


def test_a_users_model_is_imported_only_if_allowed(tmp_path, monkeypatch):
    (tmp_path / "own_models.py").write_text(
        "import mlx.nn as nn\n"
        "def make(shape, outputs):\n"
        "    return nn.Sequential(nn.Linear(shape[0], outputs))\n"
        "def wrong(shape, outputs):\n"
        "    return None\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert build("own_models:make")(mx.zeros((2, 4))).shape == (2, 3)
    assert build("own_models:make", allow_modules={"own_models"})
    with pytest.raises(ConfigError, match="--allow-module own_models"):
        build("own_models:make", allow_modules=set())
    with pytest.raises(ConfigError, match=r"expected an mlx\.nn\.Module"):
        build("own_models:wrong")
    with pytest.raises(ConfigError, match="cannot import"):
        build("not_there:make")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        ("one_output", r"outputs \(2, 1\).*expected \(2, 3\)"),
        ("other_inputs", r"does not accept inputs \(2, 4\)"),
        ("broken", "failed with KeyError"),
    ],
)
def test_a_users_model_that_does_not_fit_is_refused(
    tmp_path, monkeypatch, make, message
):
    (tmp_path / "unfit_models.py").write_text(
        "import mlx.nn as nn\n"
        "def one_output(shape, outputs):\n"
        "    return nn.Linear(shape[0], 1)\n"
        "def other_inputs(shape, outputs):\n"
        "    return nn.Linear(shape[0] + 1, outputs)\n"
        "def broken(shape, outputs):\n"
        "    return {}['nothing']\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match=message):
        build(f"unfit_models:{make}")


def test_a_users_model_may_take_token_ids(tmp_path, monkeypatch):
    """A classifier of texts, and a language model with logits for each token."""
    (tmp_path / "text_models.py").write_text(
        "import mlx.nn as nn\n"
        "class Classifier(nn.Module):\n"
        "    def __init__(self, outputs):\n"
        "        super().__init__()\n"
        "        self.words = nn.Embedding(9, 4)\n"
        "        self.head = nn.Linear(4, outputs)\n"
        "    def __call__(self, tokens):\n"
        "        return self.head(self.words(tokens).mean(axis=1))\n"
        "def classifier(shape, outputs):\n"
        "    return Classifier(outputs)\n"
        "def language_model(shape, outputs):\n"
        "    return nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    tokens = mx.array([[1, 2, 3, 0]])
    assert build("text_models:classifier")(tokens).shape == (1, 3)
    assert build("text_models:language_model")(tokens).shape == (1, 4, 9)


def test_checking_a_models_outputs_does_not_change_its_statistics(
    tmp_path, monkeypatch
):
    (tmp_path / "normed_models.py").write_text(
        "import mlx.nn as nn\n"
        "def make(shape, outputs):\n"
        "    norm = nn.BatchNorm(shape[0])\n"
        "    return nn.Sequential(norm, nn.Linear(shape[0], outputs))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    norm = build("normed_models:make").layers[0]
    assert norm.running_mean.tolist() == [0.0] * 4
    assert norm.running_var.tolist() == [1.0] * 4

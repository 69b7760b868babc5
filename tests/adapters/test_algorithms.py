"""Starts of every algorithm are adapted to texts, and what cannot be is told."""

from __future__ import annotations

import numpy as np
import pytest

from mlpeft.adapters.adapt import adapt
from mlpeft.adapters.start import as_adapter
from mlpeft.errors import ConfigError
from mlpeft.meta.functional import get_params
from mlpeft.training.trained import load_trained
from tests.adapters.runs import EXAMPLES, write_run

BITFIT = {"peft": {"method": "bitfit"}}


@pytest.mark.parametrize(
    ("algorithm", "sections"),
    [
        ("anil", {}),
        ("boil", {}),
        ("meta_sgd", {}),
        ("maml++", {}),
        ("meta_curvature", {}),
        ("cavia", BITFIT),
        ("imaml", {"model": {"head": "learned"}, "peft": {"train_also": ["head"]}}),
        ("protonet", {}),
    ],
)
def test_an_adapter_has_the_models_leaves_alone(tmp_path, algorithm, sections):
    run = write_run(tmp_path, meta_learning={"algorithm": algorithm}, **sections)
    trained = load_trained(run)
    adapter = adapt(trained, EXAMPLES)
    model = adapter.build_model()
    own = {*get_params(model), "head.weight", "head.bias"}
    assert adapter.leaves.keys() <= own
    assert {p.label for p in adapter.predict([text for text, _ in EXAMPLES])} <= {
        "delivery",
        "refund",
    }
    history = adapter.history
    assert history["loss_after"] <= history["loss_before"] + 1e-6
    start = as_adapter(trained)
    assert start.leaves.keys() <= own
    if algorithm == "boil":
        changed = {
            n for n in start.leaves if (start.leaves[n] != adapter.leaves[n]).any()
        }
        assert changed
    if algorithm == "anil":
        for name, leaf in start.leaves.items():
            np.testing.assert_array_equal(adapter.leaves[name], leaf)


def test_a_prototypical_adapter_predicts_the_nearest_class_mean(tmp_path):
    adapter = adapt(
        write_run(tmp_path, meta_learning={"algorithm": "protonet"}), EXAMPLES
    )
    texts = [text for text, _ in EXAMPLES]
    tokens = adapter.tokenizer(texts)
    import mlx.core as mx

    embeddings = np.array(adapter.model.embed(mx.array(tokens)))
    labels = np.array([adapter.labels.index(label) for _, label in EXAMPLES])
    means = np.stack([embeddings[labels == k].mean(axis=0) for k in range(2)])
    distances = ((embeddings[:, None] - means[None]) ** 2).sum(axis=2)
    predicted = [adapter.labels.index(p.label) for p in adapter.predict(texts)]
    assert predicted == distances.argmin(axis=1).tolist()


@pytest.mark.parametrize(
    ("algorithm", "match"),
    [
        ("matching", "train with protonet to adapt to texts"),
        ("relation", "train with protonet to adapt to texts"),
        ("cavia", "cavia shifts trained vectors"),
        ("imaml", "set model.head: learned"),
    ],
)
def test_what_no_adapter_can_hold_is_told(tmp_path, algorithm, match):
    with pytest.raises(ConfigError, match=match):
        adapt(write_run(tmp_path, meta_learning={"algorithm": algorithm}), EXAMPLES)

"""What is compiled is kept for a bounded number of shapes."""

import re
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

import mlpeft
from mlpeft.meta.learner import ReptileLearner
from mlpeft.models.build import seeded
from mlpeft.models.losses import cross_entropy_loss
from mlpeft.models.mlp import SimpleClassifier
from mlpeft.models.ops.compiled import compiled


@pytest.fixture
def most(monkeypatch):
    """A small bound."""
    monkeypatch.setattr("mlpeft.models.ops.compiled.MOST_SHAPES", 3)
    monkeypatch.setattr("mlpeft.meta.task_programs.MOST_SHAPES", 3)
    return 3


@pytest.fixture
def sums():
    """A compiled function, and the lengths it was traced with."""
    seen = []

    def add_up(x, scale=1):
        seen.append(len(x))
        return {"sum": mx.sum(x) * scale}

    return compiled(add_up), seen


def test_as_many_shapes_as_are_kept_are_traced_once(most, sums):
    function, seen = sums
    for _ in range(5):
        for length in range(1, most + 1):
            assert function(mx.ones(length))["sum"].item() == length
    assert seen == list(range(1, most + 1))


def test_of_many_shapes_the_early_ones_are_forgotten(most, sums):
    function, seen = sums
    lengths = range(1, 4 * most)
    for length in (*lengths, 1):
        assert function(mx.ones(length))["sum"].item() == length
    assert seen == [*lengths, 1]


def test_scalars_count_as_shapes_do(most, sums):
    function, seen = sums
    for scale in (*range(4 * most), 0):
        assert function(mx.ones(2), scale=scale)["sum"].item() == 2 * scale
    assert len(seen) == 4 * most + 1


def test_what_was_not_yet_computed_outlives_its_graph(most, sums):
    function, _ = sums
    results = [function(mx.ones(length)) for length in range(1, 4 * most)]
    assert [one["sum"].item() for one in results] == list(range(1, 4 * most))


@pytest.mark.parametrize("strategy", ["compiled", "fused"])
def test_a_learner_comes_to_the_same_bits_whatever_is_forgotten(strategy, most):
    def trained(sizes):
        with seeded(1):
            model = SimpleClassifier(3, 4, 2, num_layers=1)
        learner = ReptileLearner(
            model, strategy=strategy, outer_lr=0.5, num_inner_steps=1
        )
        for size in sizes:
            x = np.linspace(-1, 1, 3 * size, dtype=np.float32).reshape(size, 3)
            y = np.arange(size, dtype=np.int32) % 2
            learner.meta_train_step([(x, y, x, y)], cross_entropy_loss)
        (engine,) = (engine for _, engine in learner._engines.values())
        return learner.meta, engine

    sizes = [2, 3, 4, 5, 6, 2, 3]
    theta, engine = trained(sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlpeft.models.ops.compiled.MOST_SHAPES", 100)
        patch.setattr("mlpeft.meta.task_programs.MOST_SHAPES", 100)
        kept, _ = trained(sizes)
    assert all(np.array_equal(theta[name], kept[name]) for name in theta)
    assert len(engine._loops._fused._compiled) <= most


def test_nothing_is_compiled_without_a_bound():
    root = Path(mlpeft.__file__).parent
    calls = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if re.search(r"\bmx\.compile\(", path.read_text(encoding="utf-8"))
    }
    assert calls == {"models/ops/compiled.py"}

"""The same numbers as other frameworks, on the workloads that all are measured on.

The workloads' initial parameters and episodes come from the folder of baselines beside
the data sets; its README has the checksums. PyTorch and JAX agree with one another on
W1 to 2e-8 in the norm of theta.
"""

import importlib.util
import sys
from types import SimpleNamespace

import mlx.core as mx
import numpy as np
import pytest

from mlpeft import params
from mlpeft.meta.aggregate import combine
from mlpeft.meta.engine import Engine
from mlpeft.meta.functional import Functional
from mlpeft.meta.inner import InnerLoop, inner_loop, last
from mlpeft.meta.outer import OuterStep
from mlpeft.meta.support import PreparedSupport, SupportPlan
from mlpeft.models.conv4 import Conv4
from mlpeft.models.losses import cross_entropy_loss, mse_loss
from mlpeft.models.mlp import SimpleClassifier
from mlpeft.rounds import SummedTotals
from mlpeft.tasks.episode import Episode


@pytest.fixture(scope="module")
def workloads(data_dir):
    path = data_dir.parent / "bench" / "common.py"
    if not path.is_file():
        pytest.skip(f"the baselines' workloads are not at {path}")
    spec = importlib.util.spec_from_file_location("baseline_workloads", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def mlp_theta(arrays):
    names = [f"layers.{i}.{kind}" for i in range(3) for kind in ("weight", "bias")]
    return dict(sorted(zip(names, arrays, strict=True)))


def episodes(batch):
    return [
        Episode(*(a.astype(np.int32) if a.dtype == np.int64 else a for a in one))
        for one in zip(*batch, strict=True)
    ]


def outer(meta, results, lr):
    mean = combine(SummedTotals(*results))
    return OuterStep(lr=lr, state={}).step(meta, mean, 0).meta


@pytest.mark.parametrize("strategy", ["compiled", "vmap"])
def test_w1_after_ten_iterations_is_that_of_other_frameworks(workloads, strategy):
    """2-64-64-2 ReLU, 4 tasks, 5 SGD steps: |theta| = 7.3111846."""
    settings = SimpleNamespace(workload="W1", hidden=64, meta_batch=0)
    theta = mlp_theta(workloads.init_mlp(workloads.mlp_sizes(settings)))
    engine = Engine(
        SimpleClassifier(2, 64, 2),
        cross_entropy_loss,
        InnerLoop(lr=workloads.W1["inner_lr"], num_steps=workloads.W1["steps"]),
        strategy,
    )
    for batch in workloads.pool(settings)[:10]:
        tasks = episodes(batch)
        total = engine.train(theta, tasks, np.random.default_rng).total
        theta = outer(theta, (total, len(tasks)), workloads.W1["outer_lr"])
    assert params.global_norm(theta) == pytest.approx(7.3111846, abs=2e-6)


def test_w3_after_one_iteration_is_that_of_other_frameworks(workloads):
    """1-64-64-1 tanh, 32 tasks, 32 SGD steps: |theta| = 7.976."""
    settings = SimpleNamespace(workload="W3", hidden=64, meta_batch=32)
    theta = mlp_theta(workloads.init_mlp(workloads.mlp_sizes(settings)))
    engine = Engine(
        SimpleClassifier(1, 64, 1, activation="tanh"),
        mse_loss,
        InnerLoop(lr=workloads.W3["inner_lr"], num_steps=workloads.W3["steps"]),
    )
    tasks = episodes(workloads.pool(settings)[0])
    total = engine.train(theta, tasks, np.random.default_rng).total
    theta = outer(theta, (total, len(tasks)), workloads.W3["outer_lr"])
    assert params.global_norm(theta) == pytest.approx(7.976, abs=5e-4)


def test_w2_after_two_iterations_is_that_of_other_frameworks(workloads):
    """Conv4, Adam with beta1 = 0, 5 steps of 10 images, 5 tasks: |theta| = 21.466.

    The baselines have a bias before each batch norm, ours has none: its gradient is
    zero but for rounding, which Adam blows up, so the last digit may differ.
    """
    settings = SimpleNamespace(workload="W2", hidden=64, meta_batch=0)
    arrays = workloads.init_conv4()
    theta = {"head.weight": arrays[16], "head.bias": arrays[17]}
    for block in range(4):
        weight, _, gamma, beta = arrays[4 * block : 4 * block + 4]
        theta[f"blocks.{block}.weight"] = weight.transpose(0, 2, 3, 1).copy()
        theta[f"blocks.{block}.gamma"], theta[f"blocks.{block}.beta"] = gamma, beta
    functional = Functional(Conv4(), cross_entropy_loss)
    inner = InnerLoop(lr=workloads.W2["inner_lr"], num_steps=5, optimizer="adam")
    order = np.arange(50).reshape(5, 10)
    for images, labels in workloads.pool(settings)[:2]:
        start = {name: mx.array(leaf) for name, leaf in theta.items()}
        total = {}
        for x, y in zip(images, labels.astype(np.int32), strict=True):
            with functional.installed():
                plan = SupportPlan(x.reshape(50, 28, 28, 1), y.ravel(), order)
                support = PreparedSupport.of(plan, functional.prepare)
                end = last(inner_loop(functional, inner, start, {}, support))
            adapted = params.to_numpy(end.params)
            total = params.add(total, adapted) if total else adapted
        theta = outer(theta, (total, len(images)), workloads.W2["outer_lr"])
    assert params.global_norm(theta) == pytest.approx(21.466, abs=2e-3)

"""What works with one kind of language model, each claim measured on a small one."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from mlpeft.adapters.adapter import Adapter
from mlpeft.config import PeftSection, RunConfig
from mlpeft.errors import MlpeftError
from mlpeft.exchange.export import Format, export_adapter
from mlpeft.meta.functional import Functional, get_params, set_params
from mlpeft.meta.missing_gradients import without_gradient
from mlpeft.models.losses import IGNORED, cross_entropy_loss
from mlpeft.models.pretrained.causal_lm import enable_all, read_causal_lm
from mlpeft.peft.method import AdaptedLinear
from mlpeft.peft.wrap import wrap
from tools.language_models.kinds import VOCABULARY, small_config, small_model

if TYPE_CHECKING:
    from mlpeft.params import MlxTree

METHODS = ("lora", "dora", "ia3", "prompt", "prefix")
TOKENS = np.random.default_rng(1).integers(1, VOCABULARY, (2, 12)).astype(np.int32)
LABELS = np.roll(TOKENS, -1, axis=1)
LABELS[:, :8] = LABELS[:, -1:] = IGNORED
STEP = 0.05
"""Of one inner step, per unit of the gradient's norm."""
NUMBER = re.compile(r"\.\d+\.")


@dataclass(slots=True)
class Report:
    """What works with a kind.

    Attributes:
        kind: mlx-lm's name of the module.
        layers: The layers that LoRA adapts by default, without the blocks' numbers.
        parameters: Numbers in LoRA's leaves, at rank 8.
        methods: Those that change the logits and get gradients.
        frozen: Largest difference of logits from frozen layers computed once, relative
            to the largest logit; None: computed in every step.
        positions: The same from the head at labelled tokens alone.
        losses: Before and after one inner step.
        exports: The formats that mlx-lm or mlpeft read back as the same model.
        refused: Why mlpeft does not train it.
        failures: What did not agree.
        missing: Why the kind was not run.
    """

    kind: str
    layers: list[str] = field(default_factory=list)
    parameters: int = 0
    methods: list[str] = field(default_factory=list)
    frozen: float | None = None
    positions: float | None = None
    losses: tuple[float, float] | None = None
    exports: list[str] = field(default_factory=list)
    refused: str | None = None
    failures: list[str] = field(default_factory=list)
    missing: str | None = None


def check(kind: str) -> Report:
    """Run all checks of a kind."""
    report = Report(kind)
    try:
        mx.eval(small_model(kind)(mx.array(TOKENS)))
    except Exception as error:  # noqa: BLE001 - whatever mlx-lm raises is the reason
        report.missing = _reason(error)
        return report
    for step in (_lora, _frozen, _methods, _exports):
        try:
            step(report)
        except Exception as error:  # noqa: BLE001 - the table has it
            refusal = without_gradient(error)
            if refusal is not None:  # as the engine refuses it
                report.refused = refusal.problems[0].removeprefix("peft.method: ")
                continue
            name = step.__name__.strip("_")
            report.failures.append(f"{name}: {type(error).__name__}: {error}")
    return report


def wrapped(kind: str, method: str = "lora", **keys: Any) -> nn.Module:
    """A small model of a kind, as `read_causal_lm` gives it, wrapped with a method."""
    model = small_model(kind)
    enable_all(model)
    return wrap(model, PeftSection(method=method, train_also=[], **keys))


def move(model: nn.Module) -> None:
    """Move every trainable leaf, so that the method changes what the model computes."""
    rng = np.random.default_rng(0)
    moved = {
        name: leaf + mx.array(0.3 * rng.normal(size=leaf.shape).astype(np.float32))
        for name, leaf in get_params(model).items()
    }
    set_params(model, moved)


def logits(model: nn.Module, x: Any = None) -> np.ndarray:
    """The logits as float32."""
    output = model(mx.array(TOKENS) if x is None else x)
    return np.array(output.astype(mx.float32))


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference, relative to the largest expected value.

    Some kinds set the logits of unused ids to -inf: in both, or the difference is inf.
    """
    finite = np.isfinite(expected)
    if not np.array_equal(np.isfinite(found), finite):
        return float("inf")
    found, expected = found[finite], expected[finite]
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def loss_and_gradient(model: nn.Module) -> tuple[float, MlxTree]:
    """The loss of TOKENS and LABELS, and its gradient by the trainable leaves."""
    functional = Functional(model, cross_entropy_loss)
    x = functional.prepare(TOKENS, LABELS)
    with functional.installed():
        loss, grads = mx.value_and_grad(functional.loss)(
            get_params(model), x, mx.array(LABELS)
        )
        mx.eval(loss, grads)
    return float(loss), grads


def frozen_difference(kind: str) -> float | None:
    """See `Report.frozen`: the last block adapts."""
    model = wrapped(kind, num_layers=1)
    move(model)
    prepared = model.prepare(TOKENS) if hasattr(model, "prepare") else None
    if prepared is None:
        return None
    arrays = {name: mx.array(part) for name, part in prepared.items()}
    return difference(logits(model, arrays), logits(model))


def positions_difference(kind: str) -> float | None:
    """See `Report.positions`."""
    model = wrapped(kind)
    if not getattr(model, "takes_loss_positions", False):
        return None
    places = np.array([[8, 9, 3], [10, 2, 8]], np.int32)
    x = {"tokens": mx.array(TOKENS), "loss_positions": mx.array(places)}
    expected = np.take_along_axis(logits(model), places[..., None], axis=1)
    return difference(logits(model, x), expected)


def _lora(report: Report) -> None:
    model = wrapped(report.kind)
    report.layers = sorted(
        {
            NUMBER.sub(".", path).rpartition(".")[2]
            for path, module in model.named_modules()
            if isinstance(module, AdaptedLinear)
        }
    )
    theta = get_params(model)
    report.parameters = sum(leaf.size for leaf in theta.values())
    before, grads = loss_and_gradient(model)
    norm = mx.sqrt(sum((mx.square(grads[name]).sum() for name in grads), mx.array(0.0)))
    set_params(model, {name: theta[name] - STEP / norm * grads[name] for name in theta})
    after, _ = loss_and_gradient(model)
    report.losses = before, after
    if not after < before:
        report.failures.append(f"the loss goes from {before:.4f} to {after:.4f}")


def _frozen(report: Report) -> None:
    report.frozen = frozen_difference(report.kind)
    report.positions = positions_difference(report.kind)
    for name in ("frozen", "positions"):
        value = getattr(report, name)
        if value is not None and not value < 1e-4:
            report.failures.append(f"{name} differ by {value:.1g}")


def _methods(report: Report) -> None:
    plain = logits(small_model(report.kind))
    for method in METHODS:
        try:
            model = wrapped(report.kind, method)
        except MlpeftError:
            continue  # refused with a reason
        move(model)
        changed = difference(logits(model), plain)
        _, grads = loss_and_gradient(model)
        sizes = [float(mx.abs(leaf).max()) for leaf in grads.values()]
        if changed > 1e-6 and np.isfinite(sizes).all() and max(sizes) > 0:
            report.methods.append(method)
        else:
            report.failures.append(f"{method}: change {changed:.1g}")


def _exports(report: Report) -> None:
    from mlx_lm.utils import load_model, save_config, save_model

    with tempfile.TemporaryDirectory() as name:
        base = Path(name, "base")
        plain = small_model(report.kind)
        save_model(base, plain)
        save_config(small_config(report.kind), base / "config.json")
        config = RunConfig.from_dict(
            {
                "model": {"backbone": "causal_lm", "weights": str(base)},
                "peft": {"method": "lora", "train_also": []},
                "task_distribution": {
                    "task_families": ["completions"],
                    "task_params": {"path": "none.jsonl"},
                },
            }
        )
        model = wrap(read_causal_lm(str(base)), config.peft)
        move(model)
        leaves = {path: np.array(leaf) for path, leaf in get_params(model).items()}
        expected = logits(model)
        history = {"checkpoint": "none", "meta_iterations": 0, "results": {}}
        adapter = Adapter(config=config, leaves=leaves, history=history)
        folder = export_adapter(adapter, Format.MLX_LM, Path(name, "adapter"))
        _compare(report, "mlx-lm", _with_adapter(base, folder), expected)
        folder = export_adapter(adapter, Format.MERGED, Path(name, "merged"))
        merged, _ = load_model(folder)
        _compare(report, "merged", merged, expected)


def _with_adapter(base: Path, folder: Path) -> nn.Module:
    from mlx_lm.tuner.utils import load_adapters
    from mlx_lm.utils import load_model

    model, _ = load_model(base)
    loaded: nn.Module = load_adapters(model, str(folder))
    loaded.eval()
    return loaded


def _compare(report: Report, name: str, model: nn.Module, expected: np.ndarray) -> None:
    model.eval()
    found = difference(logits(model), expected)
    if found < 1e-3:
        report.exports.append(name)
    else:
        report.failures.append(f"{name} differs by {found:.1g}")


def _reason(error: Exception) -> str:
    text = str(error)
    if not text:
        return type(error).__name__
    return "needs Metal" if "Metal" in text else text.partition("\n")[0]

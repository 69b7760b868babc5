"""Your own model and tasks: LoRA in any frozen mlx.nn.Module.

    python examples/own_model.py

The same from the command line, once the base exists:

    PYTHONPATH=examples mlpeft train --config configs/own_model.yaml
    PYTHONPATH=examples mlpeft compare --checkpoint checkpoints/own_model --k-shots 8

A network has learned the response of one kind of sensor. Each sensor responds a little
differently, and is calibrated from eight readings.
"""

from __future__ import annotations

from pathlib import Path

# Before mlx.core: what is taken from mlpeft loads a fast BLAS on Linux.
from mlpeft import RunConfig, TaskConfig

# isort: split
import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np

from mlpeft.evaluation.evaluate import compare
from mlpeft.evaluation.joint_start import trained_joint
from mlpeft.tasks.sampling import TaskRandom
from mlpeft.training.loop import train
from mlpeft.training.trained import load_trained

BASE = Path("checkpoints/own_model_base.safetensors")
CONFIG = Path(__file__).parents[1] / "configs" / "own_model.yaml"


class Block(nn.Module):
    """A residual layer; LoRA may change its linear layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def __call__(self, x: mx.array) -> mx.array:
        """(n, width) -> (n, width)."""
        output: mx.array = x + self.down(nn.silu(self.up(x)))
        return output


class SensorNet(nn.Module):
    """Predicts a sensor's reading from the measured quantity."""

    def __init__(self, inputs: int, outputs: int, width: int = 32) -> None:
        super().__init__()
        self.enter = nn.Linear(inputs, width)
        self.layers = [Block(width) for _ in range(3)]
        self.leave = nn.Linear(width, outputs)

    def __call__(self, x: mx.array) -> mx.array:
        """(n, inputs) -> (n, outputs)."""
        x = self.enter(x)
        for layer in self.layers:
            x = layer(x)
        output: mx.array = self.leave(x)
        return output


def make(input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
    """Build the base with its weights, for `model.backbone: own_model:make`."""
    if not BASE.is_file():
        raise FileNotFoundError(f"no {BASE}; run first: python examples/own_model.py")
    model = SensorNet(input_shape[0], num_outputs)
    model.load_weights(str(BASE))
    return model


def response(x: np.ndarray, gain: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """A sensor's reading at x: gain * sin(2 x + shift) * exp(-x^2 / 8)."""
    return gain * np.sin(2.0 * x + shift) * np.exp(-(x**2) / 8.0)


def episode(
    config: TaskConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sample readings of one sensor, for `task_params.entry_point: own_model:episode`.

    The task's id alone determines the sensor, `rng` the readings.
    """
    sensor = TaskRandom(config.task_id)
    gain, shift = sensor.uniform(0.5, 2.0), sensor.uniform(-1.0, 1.0)
    x = rng.uniform(-3.0, 3.0, (config.support_size + config.query_size, 1))
    y, first = response(x, gain, shift), config.support_size
    return x[:first], y[:first], x[first:], y[first:]


def learn_base(steps: int = 400) -> float:
    """Fit the network to the standard sensor, in plain MLX; return its loss."""
    mx.random.seed(0)
    model = SensorNet(1, 1)
    x = mx.linspace(-3.0, 3.0, 128)[:, None]
    y = mx.array(response(np.array(x)))

    def loss_of(model: nn.Module) -> mx.array:
        return mx.mean(mx.square(model(x) - y))

    optimizer = optim.Adam(learning_rate=3e-3)
    step = nn.value_and_grad(model, loss_of)
    for _ in range(steps):
        loss, grads = step(model)
        optimizer.update(model, grads)
        mx.eval(model.parameters(), optimizer.state)
    BASE.parent.mkdir(parents=True, exist_ok=True)
    model.save_weights(str(BASE))
    return float(loss.item())


def main() -> None:
    """Train the base, meta-learn a LoRA start in it, compare with a fresh one."""
    print(f"trained the base: squared error {learn_base():.4f}; saved in {BASE}")
    result = train(RunConfig.load(CONFIG))
    count = sum(leaf.size for leaf in result.meta.values())
    print(f"{result.iteration} meta-iterations of {count} LoRA parameters")
    trained = load_trained(result.run_dir, allow_modules=["own_model"])
    joint = trained_joint(trained)  # for as many gradients, without meta-learning
    (comparison,) = compare(trained, [8], episodes=50, joint=joint).values()
    print("\nsquared error on new sensors, 8 readings each:")
    for name, scores in (
        ("LoRA, meta-learned start", comparison.meta),
        (f"LoRA, joint start, step size {comparison.joint_lr:g}", comparison.joint),
        ("LoRA, fresh start", comparison.fresh),
        (f"LoRA, fresh start, step size {comparison.tuned_lr:g}", comparison.tuned),
    ):
        if scores is None:
            continue
        for step, loss in zip(scores.steps, scores.loss, strict=True):
            print(f"  {name:40} after {step:2} steps  {loss:.4f}")


if __name__ == "__main__":
    main()

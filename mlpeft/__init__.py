"""mlpeft: meta-learn the starting point of a fine-tune, on the Macs a lab already has.

    from mlpeft import ReptileLearner, SimpleClassifier, TaskConfig, TaskDistribution

`import mlpeft` alone changes nothing. A name is imported when it is first taken from
the package, and the first one makes MLX ready (`prepare`): on Linux that loads a fast
BLAS, which MLX uses only if it is there before `mlx.core` is imported. So take a name
from mlpeft, or call `mlpeft.prepare()`, before that.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlpeft.adapters.adapt import adapt as adapt
    from mlpeft.adapters.classifier import Classifier as Classifier
    from mlpeft.adapters.completer import Completer as Completer
    from mlpeft.adapters.store import load_adapter as load_adapter
    from mlpeft.config import RunConfig as RunConfig
    from mlpeft.config.flat import MetaLearningConfig as MetaLearningConfig
    from mlpeft.errors import CheckpointError as CheckpointError
    from mlpeft.errors import ConfigError as ConfigError
    from mlpeft.errors import DataError as DataError
    from mlpeft.errors import MlpeftError as MlpeftError
    from mlpeft.errors import ParamMismatch as ParamMismatch
    from mlpeft.errors import ShapeError as ShapeError
    from mlpeft.errors import TaskSamplingError as TaskSamplingError
    from mlpeft.evaluation.baseline import BaselineComparison as BaselineComparison
    from mlpeft.exchange.export import export_adapter as export_adapter
    from mlpeft.exchange.export import import_adapter as import_adapter
    from mlpeft.meta.learner import ReptileLearner as ReptileLearner
    from mlpeft.models.conv4 import Conv4 as Conv4
    from mlpeft.models.losses import accuracy as accuracy
    from mlpeft.models.losses import cross_entropy_loss as cross_entropy_loss
    from mlpeft.models.losses import mse_loss as mse_loss
    from mlpeft.models.mlp import LinearClassifier as LinearClassifier
    from mlpeft.models.mlp import SimpleClassifier as SimpleClassifier
    from mlpeft.platform import prepare as prepare
    from mlpeft.reporting import setup_logger as setup_logger
    from mlpeft.results import EvalResult as EvalResult
    from mlpeft.tasks.distribution import TaskDistribution as TaskDistribution
    from mlpeft.tasks.episode import Episode as Episode
    from mlpeft.tasks.episode import TaskConfig as TaskConfig

__version__ = "0.1.0"

_HOMES = {
    "BaselineComparison": "mlpeft.evaluation.baseline",
    "CheckpointError": "mlpeft.errors",
    "Classifier": "mlpeft.adapters.classifier",
    "Completer": "mlpeft.adapters.completer",
    "ConfigError": "mlpeft.errors",
    "Conv4": "mlpeft.models.conv4",
    "DataError": "mlpeft.errors",
    "Episode": "mlpeft.tasks.episode",
    "EvalResult": "mlpeft.results",
    "LinearClassifier": "mlpeft.models.mlp",
    "MetaLearningConfig": "mlpeft.config.flat",
    "MlpeftError": "mlpeft.errors",
    "ParamMismatch": "mlpeft.errors",
    "ReptileLearner": "mlpeft.meta.learner",
    "RunConfig": "mlpeft.config",
    "ShapeError": "mlpeft.errors",
    "SimpleClassifier": "mlpeft.models.mlp",
    "TaskConfig": "mlpeft.tasks.episode",
    "TaskDistribution": "mlpeft.tasks.distribution",
    "TaskSamplingError": "mlpeft.errors",
    "accuracy": "mlpeft.models.losses",
    "adapt": "mlpeft.adapters.adapt",
    "cross_entropy_loss": "mlpeft.models.losses",
    "export_adapter": "mlpeft.exchange.export",
    "import_adapter": "mlpeft.exchange.export",
    "load_adapter": "mlpeft.adapters.store",
    "mse_loss": "mlpeft.models.losses",
    "prepare": "mlpeft.platform",
    "setup_logger": "mlpeft.reporting",
}

__all__ = [  # noqa: PLE0604 - the keys are strings
    "__version__",
    *_HOMES,
]


def __getattr__(name: str) -> Any:
    """Import a public name from its home when it is first asked for, and prepare."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'mlpeft' has no attribute {name!r}")
    importlib.import_module("mlpeft.platform").prepare()
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

# The public names and where they live, once: type checkers read this file, and so does
# mlpeft/__init__.py, so what is added here can be imported from mlpeft.

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
from mlpeft.evaluation.evaluate import Comparison as Comparison
from mlpeft.evaluation.evaluate import compare as compare
from mlpeft.evaluation.evaluate import evaluate as evaluate
from mlpeft.exchange.export import export_adapter as export_adapter
from mlpeft.exchange.export import import_adapter as import_adapter
from mlpeft.meta.joint_learner import JointLearner as JointLearner
from mlpeft.meta.learner import ReptileLearner as ReptileLearner
from mlpeft.models.build import load_encoder as load_encoder
from mlpeft.models.build import load_language_model as load_language_model
from mlpeft.models.conv4 import Conv4 as Conv4
from mlpeft.models.losses import accuracy as accuracy
from mlpeft.models.losses import cross_entropy_loss as cross_entropy_loss
from mlpeft.models.losses import mse_loss as mse_loss
from mlpeft.models.mlp import LinearClassifier as LinearClassifier
from mlpeft.models.mlp import SimpleClassifier as SimpleClassifier
from mlpeft.peft.wrap import merge as merge
from mlpeft.peft.wrap import wrap as wrap
from mlpeft.platform import prepare as prepare
from mlpeft.reporting import setup_logger as setup_logger
from mlpeft.results import EvalResult as EvalResult
from mlpeft.tasks.distribution import TaskDistribution as TaskDistribution
from mlpeft.tasks.episode import Episode as Episode
from mlpeft.tasks.episode import TaskConfig as TaskConfig
from mlpeft.tasks.own_texts import completion_tasks as completion_tasks
from mlpeft.tasks.own_texts import text_tasks as text_tasks
from mlpeft.training.loop import TrainResult as TrainResult
from mlpeft.training.loop import train as train
from mlpeft.training.trained import Trained as Trained
from mlpeft.training.trained import load_trained as load_trained

__version__: str

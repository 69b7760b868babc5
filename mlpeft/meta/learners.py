"""The learners of algorithms other than Reptile, with the methods of `ReptileLearner`.

Each moves theta by Adam unless `outer_optimizer` says otherwise, and takes the keys of
its algorithm as keywords: `MetaSGDLearner(model, rates="leaf")`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mlpeft.meta.learner import ReptileLearner

if TYPE_CHECKING:
    from mlpeft.config.algorithms import AlgorithmName


class SerialReptileLearner(ReptileLearner):
    """Serial Reptile: theta moves after each episode of a meta-batch."""

    algorithm: ClassVar[AlgorithmName] = "reptile_serial"


class GradientLearner(ReptileLearner):
    """A learner that descends a gradient of the queries' loss."""

    outer_optimizer: ClassVar[str] = "adam"


class FOMAMLLearner(GradientLearner):
    """First-order MAML, see `mlpeft.meta.fomaml`."""

    algorithm: ClassVar[AlgorithmName] = "fomaml"


class MAMLLearner(GradientLearner):
    """MAML, see `mlpeft.meta.maml`; `first_order=True` is FOMAML."""

    algorithm: ClassVar[AlgorithmName] = "maml"


class ANILLearner(GradientLearner):
    """ANIL, see `mlpeft.meta.anil`."""

    algorithm: ClassVar[AlgorithmName] = "anil"


class BOILLearner(GradientLearner):
    """BOIL, see `mlpeft.meta.boil`."""

    algorithm: ClassVar[AlgorithmName] = "boil"


class MetaSGDLearner(GradientLearner):
    """Meta-SGD, see `mlpeft.meta.meta_sgd`."""

    algorithm: ClassVar[AlgorithmName] = "meta_sgd"


class MAMLPlusPlusLearner(GradientLearner):
    """MAML++, see `mlpeft.meta.maml_plus_plus`."""

    algorithm: ClassVar[AlgorithmName] = "maml++"


class MetaCurvatureLearner(GradientLearner):
    """Meta-curvature, see `mlpeft.meta.meta_curvature`."""

    algorithm: ClassVar[AlgorithmName] = "meta_curvature"


class CAVIALearner(GradientLearner):
    """CAVIA, see `mlpeft.meta.cavia`."""

    algorithm: ClassVar[AlgorithmName] = "cavia"


class IMAMLLearner(GradientLearner):
    """iMAML, see `mlpeft.meta.imaml`."""

    algorithm: ClassVar[AlgorithmName] = "imaml"


class ProtoNetLearner(GradientLearner):
    """Prototypical networks, see `mlpeft.meta.protonet`."""

    algorithm: ClassVar[AlgorithmName] = "protonet"


class MatchingNetLearner(GradientLearner):
    """Matching networks, see `mlpeft.meta.matching`."""

    algorithm: ClassVar[AlgorithmName] = "matching"


class RelationNetLearner(GradientLearner):
    """Relation networks, see `mlpeft.meta.relation`."""

    algorithm: ClassVar[AlgorithmName] = "relation"

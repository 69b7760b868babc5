"""The configuration of a run: one section per concern, every key checked.

Precedence: `--set a.b=c`, then the file, then the defaults below. A field's description
is its documentation; `mlpeft config` prints them all. The Reptile paper (arXiv
1803.02999) calls `inner_lr` alpha and `outer_lr` epsilon, the meta step size.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError

from mlpeft.config.base import Section
from mlpeft.config.cluster import ClusterSection
from mlpeft.config.engine import EngineSection
from mlpeft.config.learning import (
    EvaluationSection,
    MetaLearningSection,
    RunSection,
    TaskDistributionSection,
)
from mlpeft.config.machine import ComputeSection, LoggingSection, PathsSection
from mlpeft.config.model import ModelSection
from mlpeft.config.notify import NotifySection
from mlpeft.config.peft import PeftSection
from mlpeft.config.reading import describe, parse_yaml
from mlpeft.config.run import RunConfig
from mlpeft.errors import ConfigError

__all__ = [
    "ClusterSection",
    "ComputeSection",
    "EngineSection",
    "EvaluationSection",
    "LoggingSection",
    "MetaLearningSection",
    "ModelSection",
    "NotifySection",
    "PathsSection",
    "PeftSection",
    "RunConfig",
    "RunSection",
    "TaskDistributionSection",
    "checked",
    "parse_yaml",
]

SectionT = TypeVar("SectionT", bound=Section)


def checked(section: type[SectionT], **keys: Any) -> SectionT:
    """Build one section from its keys, for code without a complete configuration.

    Raises:
        ConfigError: Listing every problem at once.
    """
    try:
        return section(**keys)
    except ValidationError as error:
        raise ConfigError(
            describe(detail, section) for detail in error.errors()
        ) from error

"""The complete configuration of a run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, get_args

import yaml
from pydantic import ValidationError, model_validator

from mlpeft.charts import notebook
from mlpeft.config import aggregation, algorithms
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
from mlpeft.config.reading import describe, override, parse_yaml
from mlpeft.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class RunConfig(Section):
    """The complete configuration of a run."""

    run: RunSection = RunSection()
    meta_learning: MetaLearningSection = MetaLearningSection()
    task_distribution: TaskDistributionSection = TaskDistributionSection()
    model: ModelSection = ModelSection()
    peft: PeftSection = PeftSection()
    evaluation: EvaluationSection = EvaluationSection()
    compute: ComputeSection = ComputeSection()
    logging: LoggingSection = LoggingSection()
    notify: NotifySection = NotifySection()
    paths: PathsSection = PathsSection()
    cluster: ClusterSection = ClusterSection()
    engine: EngineSection = EngineSection()

    def __repr__(self) -> str:
        families = ", ".join(self.task_distribution.task_families)
        algorithm = self.meta_learning.algorithm
        return f"RunConfig({self.run.name!r}: {algorithm} on {families})"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """What a notebook shows: the keys that are no defaults."""
        defaults = RunConfig().to_dict()
        changed = {
            f"{section}.{key}": value
            for section, keys in self.to_dict().items()
            for key, value in keys.items()
            if value != defaults[section][key]
        }
        return notebook.facts(f"Configuration of {self.run.name}", changed)

    @model_validator(mode="after")
    def _check_related_keys(self) -> Self:
        meta = self.meta_learning
        train_queries = self.task_distribution.train_query_size
        problem = algorithms.queries_problem(
            meta, train_queries
        ) or algorithms.compute_problem(meta, self.compute)
        if problem is not None:
            raise ValueError(problem)
        shard = self.compute.shard_size
        if shard is not None and shard > meta.meta_batch_size:
            raise ValueError(
                f"compute.shard_size: {shard} is more than "
                f"meta_learning.meta_batch_size {meta.meta_batch_size}; lower it"
            )
        problem = aggregation.problem(meta, shard or 1)
        if problem is not None:
            raise ValueError(problem)
        if self.cluster.mode != "sync" and meta.aggregation != "mean":
            raise ValueError(
                f"cluster.mode: {self.cluster.mode} may leave out so many shards that "
                f"a machine has more of the others than meta_learning.aggregation: "
                f"{meta.aggregation} outvotes; set mode: sync, or aggregation: mean"
            )
        if self.cluster.mode == "async" and self.cluster.max_staleness == 0:
            raise ValueError(
                "cluster.max_staleness: 0 drops what is late, and mode async lives on "
                "it; set 1 or more, or mode: quorum"
            )
        if self.cluster.lost_after_s <= self.cluster.heartbeat_s:
            raise ValueError(
                f"cluster.lost_after_s: {self.cluster.lost_after_s} must be more than "
                f"cluster.heartbeat_s {self.cluster.heartbeat_s}"
            )
        return self

    @classmethod
    def load(cls, path: str | Path, overrides: Iterable[str] = ()) -> RunConfig:
        """Read a YAML file and apply `a.b=c` overrides.

        A run without a name is named after the file.

        Raises:
            FileNotFoundError: Naming the absolute path.
            ConfigError: Listing every problem in file and overrides at once.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(
                f"no configuration file at {path.absolute()}; give the path of a YAML "
                "file; `mlpeft config --example digits > digits.yaml` writes one"
            )
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError("not a text file (UTF-8)", str(path)) from error
        tree = parse_yaml(text, str(path))
        if tree.get("run") is None:
            tree["run"] = {}
        run = tree["run"]
        if isinstance(run, dict):
            run.setdefault("name", _run_name(path.stem))
        return cls.from_dict(tree, overrides, str(path))

    @classmethod
    def from_dict(
        cls, tree: Mapping[str, Any], overrides: Iterable[str] = (), source: str = ""
    ) -> RunConfig:
        """Check a nested dict and apply `a.b=c` overrides.

        Raises:
            ConfigError: Listing every problem at once.
        """
        # YAML reads a section whose keys are all commented out as None.
        merged = {
            name: dict(section) if isinstance(section, dict) else section
            for name, section in tree.items()
            if section is not None
        }
        problems = [
            problem
            for text in overrides
            if (problem := override(merged, text, cls._takes_none)) is not None
        ]
        try:
            config = cls.model_validate(merged)
        except ValidationError as error:
            problems += [describe(detail, cls) for detail in error.errors()]
        if problems:
            raise ConfigError(problems, source)
        return config

    @classmethod
    def _takes_none(cls, section: str, key: str) -> bool:
        """Whether null is a value of a key, or there is no such key to unset."""
        found = cls.model_fields.get(section)
        fields = type(found.default).model_fields if found is not None else {}
        field = fields.get(key)
        if field is None:
            return key.partition(".")[0] not in fields
        return type(None) in get_args(field.annotation)

    def with_changes(self, **sections: Mapping[str, Any]) -> RunConfig:
        """A copy with some keys of some sections changed.

        Raises:
            ConfigError: Listing every problem at once.
        """
        tree = self.to_dict()
        for section, changes in sections.items():
            tree[section] = tree[section] | dict(changes)
        return RunConfig.from_dict(tree)

    def for_others(self) -> RunConfig:
        """A copy without whom the user wants told: for run folders and machines.

        A webhook's URL, or a command, may hold a secret.
        """
        return self.model_copy(update={"notify": NotifySection()})

    def to_dict(self) -> dict[str, Any]:
        """Convert to a nested dict of plain values, as in a YAML file."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """Convert to YAML, which `from_dict(parse_yaml(...))` reads."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False)


def _run_name(stem: str) -> str:
    """A file's name as the name of a run: "my run" becomes "my-run"."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip(".-_") or "run"

"""MetaLearningConfig: the configuration as one flat, mutable object.

An API for notebooks: `config.inner_lr` can be read and set. It wraps a `RunConfig`, so
a wrong name or value raises the same error as in a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError, nearest

if TYPE_CHECKING:
    from pathlib import Path

_SECTIONS = ("meta_learning", "task_distribution", "model", "logging", "paths")
_LATER_SECTIONS = ("run", "peft", "evaluation", "compute", "cluster", "notify")


def _map_keys() -> dict[str, str]:
    """Key -> section.

    A key that an earlier section also has is prefixed with its section's name:
    `evaluation.num_inner_steps` is `evaluation_num_inner_steps`.
    """
    sections: dict[str, str] = {}
    for section in _SECTIONS + _LATER_SECTIONS:
        model = RunConfig.model_fields[section].annotation
        for key in getattr(model, "model_fields", {}):
            sections[f"{section}_{key}" if key in sections else key] = section
    return sections


_SECTION_OF_KEY = _map_keys()


class MetaLearningConfig:
    """All keys of a configuration as attributes.

    Args:
        **keys: Keys that differ from the defaults.

    Raises:
        ConfigError: For an unknown key (with the nearest) or an unusable value.
    """

    def __init__(self, **keys: Any) -> None:
        object.__setattr__(self, "_run", RunConfig())
        for key, value in keys.items():
            setattr(self, key, value)

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Read a configuration file.

        Raises:
            FileNotFoundError: Naming the absolute path.
            ConfigError: Listing every problem in the file.
        """
        config = cls()
        object.__setattr__(config, "_run", RunConfig.load(path))
        return config

    def to_dict(self) -> dict[str, Any]:
        """Every key and its value; `MetaLearningConfig(**d)` restores it."""
        return {key: getattr(self, key) for key in _SECTION_OF_KEY}

    def to_run_config(self) -> RunConfig:
        """The configuration by sections, as the rest of mlpeft takes it."""
        run: RunConfig = object.__getattribute__(self, "_run")
        return run

    def __getattr__(self, key: str) -> Any:
        if key not in _SECTION_OF_KEY:
            raise AttributeError(
                f"no configuration key {key!r}; {nearest(key, _SECTION_OF_KEY)}"
            )
        section = _SECTION_OF_KEY[key]
        return getattr(getattr(self.to_run_config(), section), _key(key, section))

    def __setattr__(self, key: str, value: Any) -> None:
        if key not in _SECTION_OF_KEY:
            raise ConfigError(f"{key}: unknown key; {nearest(key, _SECTION_OF_KEY)}")
        section = _SECTION_OF_KEY[key]
        tree = self.to_run_config().to_dict()
        tree[section][_key(key, section)] = value
        object.__setattr__(self, "_run", RunConfig.from_dict(tree))

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *_SECTION_OF_KEY]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MetaLearningConfig):
            return NotImplemented
        return self.to_run_config() == other.to_run_config()

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        keys = ", ".join(f"{key}={value!r}" for key, value in self.to_dict().items())
        return f"MetaLearningConfig({keys})"


def _key(name: str, section: str) -> str:
    """The key within its section."""
    model = type(getattr(RunConfig(), section))
    return name if name in model.model_fields else name.removeprefix(f"{section}_")

"""MetaLearningConfig: the configuration as one flat, changeable object.

The Python API of a notebook: `config.inner_lr`, set and read. Underneath is a
`RunConfig`, so a wrong name or value is the same error as in a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError, nearest

if TYPE_CHECKING:
    from pathlib import Path

_SECTIONS = ("meta_learning", "task_distribution", "model", "logging", "paths")
_OTHERS = ("run", "peft", "evaluation", "compute", "cluster")


def _places() -> dict[str, str]:
    """Key -> section.

    A key that an earlier section has too gets its section's name in front:
    `evaluation.num_inner_steps` is `evaluation_num_inner_steps`.
    """
    places: dict[str, str] = {}
    for section in _SECTIONS + _OTHERS:
        model = RunConfig.model_fields[section].annotation
        for key in getattr(model, "model_fields", {}):
            places[f"{section}_{key}" if key in places else key] = section
    return places


_PLACES = _places()


class MetaLearningConfig:
    """All keys of a configuration as attributes that can be read and set.

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
            FileNotFoundError: Naming the absolute path that was looked at.
            ConfigError: Listing every problem of the file.
        """
        config = cls()
        object.__setattr__(config, "_run", RunConfig.load(path))
        return config

    def to_dict(self) -> dict[str, Any]:
        """Every key and its value; `MetaLearningConfig(**d)` reads it."""
        return {key: getattr(self, key) for key in _PLACES}

    def to_run_config(self) -> RunConfig:
        """The configuration by sections, as the engine takes it."""
        run: RunConfig = object.__getattribute__(self, "_run")
        return run

    def __getattr__(self, key: str) -> Any:
        if key not in _PLACES:
            raise AttributeError(
                f"no configuration key {key!r}; {nearest(key, _PLACES)}"
            )
        section = _PLACES[key]
        return getattr(getattr(self.to_run_config(), section), _key(key, section))

    def __setattr__(self, key: str, value: Any) -> None:
        if key not in _PLACES:
            raise ConfigError(f"{key}: unknown key; {nearest(key, _PLACES)}")
        section = _PLACES[key]
        tree = self.to_run_config().to_dict()
        tree[section][_key(key, section)] = value
        object.__setattr__(self, "_run", RunConfig.from_dict(tree))

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *_PLACES]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MetaLearningConfig):
            return NotImplemented
        return self.to_run_config() == other.to_run_config()

    __hash__ = None  # type: ignore[assignment]  # changeable

    def __repr__(self) -> str:
        keys = ", ".join(f"{key}={value!r}" for key, value in self.to_dict().items())
        return f"MetaLearningConfig({keys})"


def _key(name: str, section: str) -> str:
    """The key inside its section."""
    model = type(getattr(RunConfig(), section))
    return name if name in model.model_fields else name.removeprefix(f"{section}_")

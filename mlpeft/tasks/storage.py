"""Task distributions as files: plain values only, whatever the format.

A pickle can run anything when it is read. `load` reads one with an unpickler that knows
a single class, and that class takes nothing but plain values.
"""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mlpeft.config import parse_yaml
from mlpeft.errors import ConfigError, DataError
from mlpeft.files import write_atomically
from mlpeft.tasks.episode import TaskConfig

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlpeft.tasks.distribution import TaskDistribution

FORMAT = 1
SUFFIXES = (".json", ".yaml", ".yml", ".pkl", ".pickle")
# What pickle, json and the decoder raise on bytes that are not theirs.
_NOT_THEIRS = (
    pickle.UnpicklingError,
    ValueError,
    EOFError,
    TypeError,
    AttributeError,
    LookupError,
    OverflowError,
    MemoryError,
)
_FIELDS = {field.name for field in dataclasses.fields(TaskConfig)}


def state_of(
    configs: Iterable[TaskConfig], seed: int, data_dir: str | None, drawn: int
) -> dict[str, Any]:
    """A distribution as plain values.

    Args:
        configs: The tasks.
        seed: Of the stream of episodes.
        data_dir: Where the data may lie.
        drawn: Episodes of the stream that have been drawn.
    """
    return {
        "format": FORMAT,
        "seed": int(seed),
        "drawn": drawn,
        "data_dir": data_dir,
        "configs": [_plain(dataclasses.asdict(config)) for config in configs],
    }


def read_state(state: Any) -> tuple[list[TaskConfig], int, str | None, int]:
    """The inverse of `state_of`: configs, seed, data_dir, drawn.

    Raises:
        DataError: If it is not what `state_of` gives.
    """
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise DataError(
            "this is not a task distribution that this version of mlpeft saved; save "
            "it again with TaskDistribution.save"
        )
    match state:
        case {
            "seed": int(seed),
            "drawn": int(drawn),
            "data_dir": str() | None as data_dir,
            "configs": list(configs),
        } if all(map(_is_config, configs)):
            return [TaskConfig(**config) for config in configs], seed, data_dir, drawn
    raise DataError(
        "the saved task distribution is damaged: expected seed, drawn, data_dir and "
        f"configs with the keys {', '.join(sorted(_FIELDS))}"
    )


def save(distribution: TaskDistribution, path: str | Path) -> None:
    """Write a distribution in the format of the path's suffix.

    Raises:
        DataError: If the suffix is none of SUFFIXES.
    """
    path = Path(path)
    kind = _kind(path)
    if kind == "pickle":
        content = pickle.dumps(distribution)
    elif kind == "json":
        content = json.dumps(distribution.__getstate__(), indent=1).encode()
    else:
        content = yaml.safe_dump(distribution.__getstate__(), sort_keys=False).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


def load(path: str | Path, cls: type[TaskDistribution]) -> TaskDistribution:
    """Read what `save` or the standard pickle wrote.

    Raises:
        FileNotFoundError: Naming the absolute path.
        DataError: If the file is not a saved task distribution.
    """
    path = Path(path)
    kind = _kind(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no task distribution at {path.absolute()}; TaskDistribution.save writes "
            "one"
        )
    try:
        return _read(kind, path.read_bytes(), cls)
    except (DataError, ConfigError) as error:
        raise DataError(f"{path} is not a saved task distribution: {error}") from error
    except _NOT_THEIRS as error:
        raise DataError(
            f"{path} is damaged, or not a saved task distribution: {error}"
        ) from error


def _read(kind: str, content: bytes, cls: type[TaskDistribution]) -> TaskDistribution:
    if kind == "pickle":
        loaded = _Unpickler(io.BytesIO(content)).load()
        if not isinstance(loaded, cls):
            raise DataError(f"it holds a {type(loaded).__name__}")
        return loaded
    made = cls.__new__(cls)
    text = content.decode()
    made.__setstate__(json.loads(text) if kind == "json" else parse_yaml(text))
    return made


class _Unpickler(pickle.Unpickler):
    """Knows TaskDistribution, and no other name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("mlpeft.tasks.distribution", "TaskDistribution"):
            return super().find_class(module, name)
        raise DataError(
            f"it asks for {module}.{name}, which a task distribution does not need, "
            "and which could do anything: refused. Ask its author for a .json or .yaml "
            "file"
        )


def _is_config(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() <= _FIELDS
        and isinstance(value.get("task_id"), str)
        and isinstance(value.get("task_family"), str)
        and isinstance(value.get("task_params", {}), dict)
    )


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(
            f"{path}: a task distribution is saved as one of {', '.join(SUFFIXES)}, "
            f"got {suffix or 'no suffix'!r}"
        )
    return {".pkl": "pickle", ".pickle": "pickle", ".json": "json"}.get(suffix, "yaml")


def _plain(value: Any) -> Any:
    """The same value without NumPy scalars, arrays, tuples and paths."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value) if isinstance(value, Path) else value

"""Save and load task distributions as plain values, whatever the format.

Reading a pickle can run any code. `load` uses an unpickler that allows a single class,
and that class accepts plain values only.
"""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import pickletools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mlpeft.config import parse_yaml
from mlpeft.errors import ConfigError, DataError
from mlpeft.files import parse_json, write_atomically
from mlpeft.tasks.episode import TaskConfig

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlpeft.tasks.distribution import TaskDistribution

FORMAT = 1
SUFFIXES = (".json", ".yaml", ".yml", ".pkl", ".pickle")
_DAMAGED = (
    pickle.UnpicklingError,
    ValueError,
    EOFError,
    TypeError,
    AttributeError,
    LookupError,
    OverflowError,
    MemoryError,
    RecursionError,
)
"""What pickle, json and the decoder raise for bytes in another format."""
_FIELDS = {field.name for field in dataclasses.fields(TaskConfig)}


def state_of(
    configs: Iterable[TaskConfig], seed: int, data_dir: str | None, num_sampled: int
) -> dict[str, Any]:
    """A distribution as plain values.

    Args:
        configs: The tasks.
        seed: Seed of the stream of episodes.
        data_dir: Folder of the data.
        num_sampled: Episodes sampled from the stream so far.
    """
    return {
        "format": FORMAT,
        "seed": int(seed),
        "drawn": num_sampled,
        "data_dir": data_dir,
        "configs": [_to_plain(dataclasses.asdict(config)) for config in configs],
    }


def read_state(state: object) -> tuple[list[TaskConfig], int, str | None, int]:
    """The inverse of `state_of`: configs, seed, data_dir, num_sampled.

    Raises:
        DataError: If it is not such a state.
    """
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise DataError(
            "this is not a task distribution of this version of mlpeft; save it again "
            "with TaskDistribution.save"
        )
    match state:
        case {
            "seed": int(seed),
            "drawn": int(num_sampled),
            "data_dir": str() | None as data_dir,
            "configs": list(configs),
        } if all(map(_is_config, configs)):
            tasks = [TaskConfig(**config) for config in configs]
            return tasks, seed, data_dir, num_sampled
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
    file_format = _format_of(path)
    if file_format == "pickle":
        content = pickle.dumps(distribution)
    elif file_format == "json":
        content = json.dumps(distribution.__getstate__(), indent=1).encode()
    else:
        content = yaml.safe_dump(distribution.__getstate__(), sort_keys=False).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


def load(path: str | Path, cls: type[TaskDistribution]) -> TaskDistribution:
    """Read a file written by `save` or by the standard pickle.

    Raises:
        FileNotFoundError: Naming the absolute path.
        DataError: If the file is not a saved task distribution.
    """
    path = Path(path)
    file_format = _format_of(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no task distribution at {path.absolute()}; TaskDistribution.save writes "
            "one"
        )
    try:
        return _read(file_format, path.read_bytes(), cls)
    except (DataError, ConfigError) as error:
        raise DataError(f"{path} is not a saved task distribution: {error}") from error
    except _DAMAGED as error:
        raise DataError(
            f"{path} is damaged, or not a saved task distribution: {error}"
        ) from error


def _read(
    file_format: str, content: bytes, cls: type[TaskDistribution]
) -> TaskDistribution:
    if file_format == "pickle":
        _check_sizes(content)
        unpickled = _Unpickler(io.BytesIO(content)).load()
        if not isinstance(unpickled, cls):
            raise DataError(f"it contains a {type(unpickled).__name__}")
        return unpickled
    distribution = cls.__new__(cls)
    text = content.decode()
    state = parse_json(text) if file_format == "json" else parse_yaml(text)
    distribution.__setstate__(state)
    return distribution


def _check_sizes(content: bytes) -> None:
    """Check that no opcode asks for more memory than its bytes can fill.

    Nine bytes may ask for a string, or for an entry of the memo, of gigabytes.

    Raises:
        ValueError: If one does, or it is no pickle.
    """
    for opcode, argument, _ in pickletools.genops(content):
        asks = opcode.name in {"FRAME", "PUT", "BINPUT", "LONG_BINPUT"}
        if asks and int(argument or 0) > len(content):
            raise ValueError(
                f"it asks for {argument} bytes or entries and has {len(content)} bytes"
            )


class _Unpickler(pickle.Unpickler):
    """Allows TaskDistribution, and no other name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("mlpeft.tasks.distribution", "TaskDistribution"):
            return super().find_class(module, name)
        raise DataError(
            f"refused to load {module}.{name}, which a task distribution does not need "
            "and which could run any code. Ask its author for a .json or .yaml file"
        )


def _is_config(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() <= _FIELDS
        and isinstance(value.get("task_id"), str)
        and isinstance(value.get("task_family"), str)
        and isinstance(value.get("task_params", {}), dict)
    )


def _format_of(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(
            f"{path}: a task distribution is saved as one of {', '.join(SUFFIXES)}, "
            f"got {suffix or 'no suffix'!r}"
        )
    return {".pkl": "pickle", ".pickle": "pickle", ".json": "json"}.get(suffix, "yaml")


def _to_plain(value: Any) -> Any:
    """Convert NumPy scalars, arrays, tuples and paths to plain values."""
    if isinstance(value, dict):
        return {str(key): _to_plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(inner) for inner in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value) if isinstance(value, Path) else value

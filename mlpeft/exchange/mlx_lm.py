"""mlx-lm's adapter folders.

adapter_config.json     fine_tune_type, num_layers, lora_parameters
adapters.safetensors    leaves by the paths of mlx-lm's modules, which are ours
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlx.core as mx

from mlpeft.errors import ConfigError, DataError
from mlpeft.exchange import files
from mlpeft.exchange.huggingface import ImportedAdapter
from mlpeft.peft.lora import LoRALinear
from mlpeft.peft.lora_experts import LoRAExperts
from mlpeft.peft.targets import block, path_in_block

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from mlpeft.adapters.adapter import Adapter
    from mlpeft.config import RunConfig

WEIGHTS = "adapters.safetensors"
METHODS = ("lora", "dora")
_USE = """```bash
mlx_lm.generate --model BASE --adapter-path FOLDER \\
  {prompt}
```"""


def write(adapter: Adapter, folder: Path) -> None:
    """Write a folder that mlx-lm loads.

    Raises:
        ConfigError: If the base is not a language model, or mlx-lm lacks the method.
    """
    config, section = adapter.config, adapter.config.peft
    if config.model.backbone != "causal_lm":
        raise ConfigError(
            f"model.backbone: mlx-lm reads language models only, got "
            f"{config.model.backbone}; export with --format peft or merged"
        )
    if section.method not in METHODS:
        raise ConfigError(
            f"peft.method: mlx-lm has {' and '.join(METHODS)}, got {section.method}; "
            "export with --format peft or merged"
        )
    layers = [
        path
        for path, module in sorted(adapter.model.named_modules())
        if isinstance(module, LoRALinear | LoRAExperts)
    ]
    ends = ("lora_a", "lora_b", "m")
    written = {f"{path}.{leaf}" for path in layers for leaf in ends}
    files.check_all_written(adapter, written, "mlx-lm")
    count, keys = _blocks(layers, len(adapter.model.layers))
    settings = {
        "model": config.model.weights,
        "fine_tune_type": section.method,
        "num_layers": count,
        "lora_parameters": {
            "rank": section.rank,
            "scale": section.factor,
            "dropout": section.dropout,
            "keys": keys,
        },
    }
    arrays = {name: mx.array(leaf) for name, leaf in adapter.leaves.items()}
    files.write_arrays(folder, WEIGHTS, arrays)
    files.write_json(folder, files.CONFIG, settings)
    files.write_card(folder, adapter, _USE.format(prompt=files.prompt_option(config)))


def read(folder: Path, config: RunConfig) -> ImportedAdapter:
    """Read a folder that mlx-lm wrote.

    Raises:
        ConfigError: If the run's base is not a language model.
        DataError: If it cannot be read, or mlpeft lacks its method.
    """
    if config.model.backbone != "causal_lm":
        raise ConfigError(
            f"model.backbone: an adapter of mlx-lm needs a causal_lm, got "
            f"{config.model.backbone!r}"
        )
    what = "expected a folder that mlx-lm wrote"
    settings = files.read_json(folder / files.CONFIG, what)
    method = settings.get("fine_tune_type", "lora")
    if method not in METHODS:
        raise DataError(
            f"the adapter's fine_tune_type is {method!r}; mlpeft reads "
            f"{' and '.join(METHODS)}"
        )
    leaves = files.read_arrays(folder / WEIGHTS)
    layers = sorted({path.rpartition(".")[0] for path in leaves})
    parameters: Any = settings.get("lora_parameters")
    if not isinstance(parameters, dict):
        raise DataError(
            f"{folder / files.CONFIG}: lora_parameters is {str(parameters)[:60]}; "
            f"{what}"
        )
    try:
        peft = {
            "rank": parameters["rank"],
            "scale": parameters["scale"],
            "dropout": parameters.get("dropout", 0.0),
        }
    except LookupError as error:
        raise DataError(f"{folder / files.CONFIG} lacks {error}; {what}") from error
    return ImportedAdapter({"method": method, "keys": layers, **peft}, dict(leaves))


def _blocks(layers: Collection[str], blocks: int) -> tuple[int, list[str]]:
    """mlx-lm's `num_layers` and `keys` for these layers.

    Keys are paths within a block where the adapter changes the same layers of the last
    `num_layers` blocks; else full paths, which mlx-lm also accepts.
    """
    changed = {number for path in layers if (number := block(path)) is not None}
    keys = {path_in_block(path) for path in layers}
    last = set(range(blocks - len(changed), blocks))
    if "" not in keys and changed == last and len(layers) == len(changed) * len(keys):
        return len(changed), sorted(keys)
    return blocks, sorted(layers)

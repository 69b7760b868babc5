"""Turns a run's configuration into what a compute thread needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.node import fingerprint
from mlpeft.node.compute import Prepared
from mlpeft.platform import describe_machine

if TYPE_CHECKING:
    from collections.abc import Container

    from mlpeft.config import RunConfig


def prepare(config: RunConfig, allow_modules: Container[str] | None = None) -> Prepared:
    """Build tasks and model. Imports MLX: call it in the thread that computes.

    Args:
        config: The run's resolved configuration.
        allow_modules: Modules of the user's own that may be imported because the
            configuration names them; None: any.

    Raises:
        ConfigError: Listing every problem of tasks and model.
        DataError: If a data set is missing, saying how to get it.
    """
    from mlpeft.meta.runner import ShardRunner

    runner = ShardRunner.from_config(config, allow_modules)
    return Prepared(runner, describe_machine().device, fingerprint.of(runner))

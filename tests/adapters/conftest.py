"""A run of a tiny sentence encoder."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.adapters.runs import write_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def make_run(tmp_path) -> Callable[..., Path]:
    """Writes a run's folder, with changes to its configuration."""
    return partial(write_run, tmp_path)


@pytest.fixture
def run_dir(tmp_path) -> Path:
    """The folder of a run with LoRA."""
    return write_run(tmp_path)

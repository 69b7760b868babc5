"""Fixtures that tests of more than one package share."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest

# Before any test module imports mlx.core: a BLAS loaded later has no effect. Tests run
# without a fast one too, so its warning must not become an error.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from mlpeft import platform

    platform.prepare()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of the real data sets; skips where there is none."""
    named = os.environ.get("MLPEFT_DATA_DIR")
    checkout = Path(__file__).resolve().parents[1]
    folder = Path(named) if named else checkout.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(
            f"no data sets at {folder}; `mlpeft data --help` says how to get them, "
            "then set MLPEFT_DATA_DIR to their folder"
        )
    return folder

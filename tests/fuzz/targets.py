"""Everything that reads bytes which somebody else wrote, as functions of bytes.

A target takes any bytes and raises nothing but the errors that its reader documents:
`MlpeftError`, and FileNotFoundError where a file names another one. Whatever else comes
out of it is a finding. `tools/fuzz.py` lets atheris look for such bytes;
`test_targets.py` runs the samples of each target, spoiled in some hundred ways, and
what was found before.
"""

from __future__ import annotations

from tests.fuzz import (  # noqa: F401 - each enters its targets
    of_arrays,
    of_messages,
    of_models,
    of_own,
    of_trust,
    of_user,
)
from tests.fuzz.target import TARGETS

__all__ = ["TARGETS"]

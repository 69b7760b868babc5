"""Reports a run: terminal, metrics.jsonl, log file, W&B, trackio, TensorBoard."""

from __future__ import annotations

from mlpeft.reporting.base import Reporter, Reporters, build_reporters, usual_reporter
from mlpeft.reporting.console import ConsoleReporter
from mlpeft.reporting.jsonl import JsonlReporter, read_records, truncate_after
from mlpeft.reporting.logs import setup_logger

__all__ = [
    "ConsoleReporter",
    "JsonlReporter",
    "Reporter",
    "Reporters",
    "build_reporters",
    "read_records",
    "setup_logger",
    "truncate_after",
    "usual_reporter",
]

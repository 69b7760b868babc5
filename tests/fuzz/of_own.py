"""What mlpeft wrote itself, some time ago."""

from __future__ import annotations

from mlpeft.reporting.jsonl import read_records
from mlpeft.reporting.log_lines import read_log
from mlpeft.training import accepted
from tests.fuzz.target import file_of, target


@target(
    b'{"iteration": 3, "shards": [0, 2], "late": [[1, 4]]}\n',
    found=(b"[" * 100_000, b'{"iteration": 1, "shards": [[]], "late": 3}'),
)
def _accepted(data: bytes) -> None:
    accepted.read(file_of("log/accepted.jsonl", data).parent)


@target(b'{"event": "round", "iteration": 3, "time": 1.0}\n{"event": "x"}\nhalf')
def _metrics(data: bytes) -> None:
    list(read_records(file_of("metrics.jsonl", data)))


@target(
    b'{"time": "2026-11-28T10:00:00+00:00", "level": "INFO", "message": "m",'
    b'"logger": "mlpeft"}\n'
)
def _log(data: bytes) -> None:
    list(read_log(file_of("log.jsonl", data)))

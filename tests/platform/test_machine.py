"""The description of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlpeft.platform import machine


def test_the_machine_is_described_with_its_device() -> None:
    found = machine.describe_machine()
    assert found.cores >= 1
    assert found.device.startswith(("cpu (", "gpu ("))
    assert found.metal == (found.explanation == "")


def test_a_containers_limit_counts_where_it_is_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "CGROUP_LIMIT", limit)
    whole = machine.total_memory_bytes()
    limit.write_text("max\n")
    assert machine.total_memory_bytes() == whole
    limit.write_text("1048576\n")
    assert machine.total_memory_bytes() == 2**20


def test_peak_memory_is_in_bytes() -> None:
    """A Python process with NumPy and MLX takes 10 MB to 100 GB, not KB or TB."""
    assert 1e7 < machine.peak_memory_bytes() < 1e11

"""`mlpeft info`."""

from __future__ import annotations

import json

import pytest

from mlpeft.commands import info as command


def test_json_holds_versions_device_and_blas(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command.info(json_output=True)
    facts = json.loads(capsys.readouterr().out)
    assert set(facts["versions"]) == {"mlpeft", "mlx", "numpy", "grpcio", "python"}
    assert facts["cores"] >= 1
    assert facts["memory_bytes"] > 1e8
    assert facts["metal"] or facts["explanation"].startswith("Metal not available")
    assert facts["blas"]["name"]


def test_people_get_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    command.info()
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    expected = {"mlx", "python", "device", "Metal", "BLAS", "memory", "cores"}
    assert expected <= set(names)


def test_a_slow_blas_shows_its_remedy() -> None:
    blas = {
        "name": "reference",
        "path": None,
        "fast": False,
        "threads": None,
        "remedy": "Install one.",
    }
    assert command._blas(blas) == "reference: slow. Install one"


def test_a_package_that_is_not_there_has_no_version() -> None:
    assert command.version("no-such-package") is None

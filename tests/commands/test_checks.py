"""Checks of an installation: what passes, what fails, and what to do then."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from mlpeft.commands import checks
from mlpeft.commands.checks import Status, run_checks
from mlpeft.datasets import folders
from mlpeft.platform import BlasInfo


def by_name(**given) -> dict[str, checks.Check]:
    return {check.name: check for check in run_checks(**given)}


def test_here_everything_works() -> None:
    found = by_name()
    failed = [c for c in found.values() if c.status is Status.FAILED]
    assert failed == []
    assert {"device", "BLAS", "training step", "model", "disk", "mlx"} <= set(found)


def test_the_training_step_of_the_checks_warns_of_nothing(caplog) -> None:
    assert checks.check_training_step().status is Status.OK
    assert caplog.records == []


def test_a_wrong_configuration_fails_with_its_problems_and_ends_there(
    tmp_path: Path,
) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("meta_learning:\n  inner_lrr: 1\n")
    found = by_name(config=file)
    assert found["configuration"].status is Status.FAILED
    assert "did you mean 'inner_lr'" in found["configuration"].detail
    assert "model" not in found


def test_a_configuration_that_is_not_there_fails_with_its_path(tmp_path: Path) -> None:
    check = by_name(config=tmp_path / "none.yaml")["configuration"]
    assert check.status is Status.FAILED
    assert str(tmp_path / "none.yaml") in check.detail


def test_overrides_are_checked_too() -> None:
    check = by_name(overrides=["model.backbone=conv5"])["model"]
    assert check.status is Status.FAILED
    assert "conv5" in check.detail


def test_data_that_is_not_there_fails_and_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "_CHECKOUT", tmp_path / "checkout")
    monkeypatch.setenv("MLPEFT_DATA_DIR", str(tmp_path))
    overrides = [
        "task_distribution.task_families=[omniglot]",
        f"paths.data_dir={tmp_path}",
    ]
    check = by_name(overrides=overrides)["tasks and data"]
    assert check.status is Status.FAILED
    assert "mlpeft data" in check.detail


def test_an_old_or_missing_dependency_fails_with_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        importlib.metadata,
        "requires",
        lambda _: [
            "mlx[cpu]>=999",
            "no-such-package>=1",
            "numpy>=1",
            "wandb>=1; extra == 'wandb'",
            "pywin32; sys_platform == 'win32'",
        ],
    )
    old, missing, fine = checks.check_dependencies()
    assert (old.name, old.status) == ("mlx", Status.FAILED)
    assert old.remedy == "run `pip install 'mlx[cpu]>=999'`"
    assert "not installed" in missing.detail
    assert (fine.name, fine.status) == ("numpy", Status.OK)


def test_a_slow_blas_is_a_warning_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = BlasInfo("reference", fast=False, remedy="install one")
    monkeypatch.setattr(checks.platform, "load_blas", lambda: slow)
    check = checks.check_blas()
    assert (check.status, check.remedy) == (Status.WARNING, "install one")


def test_without_a_compiler_linux_gets_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checks.sys, "platform", "linux")
    monkeypatch.setattr(checks.platform, "compiler_for_compile", lambda: None)
    assert checks.check_compiler().status is Status.WARNING
    monkeypatch.setattr(checks.sys, "platform", "darwin")
    assert checks.check_compiler().status is Status.OK


@pytest.mark.parametrize(
    ("free", "status"),
    [(10**7, Status.FAILED), (10**9, Status.WARNING), (10**11, Status.OK)],
)
def test_little_disk_space_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, status: Status
) -> None:
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: usage)
    assert checks.check_disk(tmp_path / "not" / "yet" / "there").status is status


def test_a_folder_that_may_not_be_written_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks.os, "access", lambda *_: False)
    check = checks.check_disk(tmp_path / "checkpoints")
    assert check.status is Status.FAILED
    assert str(tmp_path) in check.detail


def test_a_check_that_crashes_is_a_failure_and_the_others_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def crash() -> None:
        raise RuntimeError("no device at all")

    monkeypatch.setattr(checks, "check_device", crash)
    found = by_name()
    assert found["device"].status is Status.FAILED
    assert found["device"].detail == "RuntimeError: no device at all"
    assert found["training step"].status is Status.OK


def test_an_mlpeft_that_is_not_installed_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", none)
    monkeypatch.setattr(importlib.metadata, "requires", none)
    assert checks.check_installation().status is Status.FAILED
    assert list(checks.check_dependencies()) == []

"""The project's own files agree with one another."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import mlpeft

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def pinned() -> dict[str, list[Requirement]]:
    """What constraints.txt pins, by name; several where Pythons need different ones."""
    text = (ROOT / "constraints.txt").read_text().replace("\\\n", " ")
    found: dict[str, list[Requirement]] = {}
    for line in text.splitlines():
        requirement = line.partition(" --hash")[0].partition("#")[0].strip()
        if requirement:
            pin = Requirement(requirement)
            found.setdefault(canonicalize_name(pin.name), []).append(pin)
    return found


def wanted() -> list[Requirement]:
    """What `make setup` must install: dependencies, the demo's extras, the tools."""
    extras = PROJECT["project"]["optional-dependencies"]
    lines = [*PROJECT["project"]["dependencies"]]
    for extra in ("plots", "digits", "images", "text", "hub", "lm", "blas"):
        lines += extras[extra]
    for group in PROJECT["dependency-groups"].values():
        lines += [line for line in group if isinstance(line, str)]
    requirements = [Requirement(line) for line in lines]
    return [r for r in requirements if r.name != "mlpeft"]


@pytest.mark.parametrize("requirement", wanted(), ids=lambda r: r.name)
def test_every_dependency_is_pinned_at_a_version_that_it_allows(
    requirement: Requirement,
) -> None:
    pins = pinned().get(canonicalize_name(requirement.name), [])
    assert pins, "not pinned; run `make lock`"
    for pin in pins:
        (exact,) = pin.specifier
        assert exact.operator == "=="
        assert requirement.specifier.contains(exact.version), "run `make lock`"


def test_the_pins_carry_digests_and_name_no_host() -> None:
    text = (ROOT / "constraints.txt").read_text()
    assert "://" not in text
    assert "--index-url" not in text
    pins = sum(len(versions) for versions in pinned().values())
    assert len(re.findall(r"^\S+==", text, re.MULTILINE)) == pins
    assert text.count("--hash=sha256:") >= pins


def test_the_version_is_the_same_everywhere() -> None:
    assert PROJECT["project"]["version"] == mlpeft.__version__


def test_every_console_script_can_be_called() -> None:
    for target in PROJECT["project"]["scripts"].values():
        module, _, function = target.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


def test_every_public_name_can_be_imported() -> None:
    missing = [name for name in mlpeft.__all__ if not hasattr(mlpeft, name)]
    assert missing == []


def test_no_public_name_can_be_hidden_by_a_module_that_is_imported_later() -> None:
    modules = {found.name for found in pkgutil.iter_modules(mlpeft.__path__)}
    assert modules & set(mlpeft.__all__) == set()
    importlib.import_module("mlpeft.training.loop")
    importlib.import_module("mlpeft.evaluation.evaluate")
    for name in ("train", "evaluate", "compare", "load_trained", "adapt", "wrap"):
        assert inspect.isfunction(getattr(mlpeft, name)), name


def test_the_public_names_are_listed_for_people_too() -> None:
    assert dir(mlpeft) == sorted(mlpeft.__all__)
    assert {"train", "ReptileLearner", "text_tasks", "load_encoder"} <= set(dir(mlpeft))
    with pytest.raises(AttributeError, match="no attribute 'learner'"):
        _ = mlpeft.learner


def test_a_commit_is_checked_by_the_same_tools_as_make_test() -> None:
    makefile = (ROOT / "Makefile").read_text()
    lint = makefile.partition("\nlint:")[2].partition("\n\n")[0]
    steps = set(re.findall(r"\$\(BIN\)/([\w-]+ ?(?:check|format|tools\S+)?)", lint))
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    entries = [hook["entry"] for repo in hooks["repos"] for hook in repo["hooks"]]
    for step in steps:
        assert any(f".venv/bin/{step.strip()}" in entry for entry in entries), step
    assert len(steps) == len(entries)


def test_the_workflow_runs_nothing_but_the_makes_list() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]
    assert "make test" in (ROOT / ".ci/run").read_text()


def test_the_nightly_workflow_runs_what_anybody_can_run_and_lets_a_seed_be_named() -> (
    None
):
    workflow = yaml.safe_load((ROOT / ".github/workflows/chaos.yml").read_text())
    (job,) = workflow["jobs"].values()
    (command,) = [step["run"] for step in job["steps"] if "run" in step]
    assert command == 'make chaos ARGS="--minutes 10 --seed $SEED"'
    assert job["timeout-minutes"] > 20  # as long again for the run without faults
    assert "inputs.seed" in job["env"]["SEED"]
    assert "\nchaos:" in (ROOT / "Makefile").read_text()


def open_matches(path: Path) -> list[int]:
    """Lines of matches over a message, command or event that may miss a kind."""
    lines = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Match):
            continue
        subject = node.subject
        name = subject.target if isinstance(subject, ast.NamedExpr) else subject
        if not isinstance(name, ast.Name):
            continue
        if name.id not in {"message", "command", "event"}:
            continue
        if "assert_never" not in ast.unparse(node.cases[-1]):
            lines.append(node.lineno)
    return lines


@pytest.mark.parametrize("package", ["cluster", "transport", "runtime"])
def test_a_new_kind_of_message_command_or_event_is_forgotten_nowhere(
    package: str,
) -> None:
    """mypy reports what a match lacks, if the match ends in assert_never."""
    paths = (ROOT / "mlpeft" / package).rglob("*.py")
    missing = {str(path): lines for path in paths if (lines := open_matches(path))}
    assert missing == {}


TOPS = "mlpeft|coordinator|worker|tests|tools|benchmarks|proto|configs|examples|docs"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_and_module_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    tops = (
        "mlpeft|coordinator|worker|tests|tools|benchmarks|proto|configs|examples|docs"
    )
    paths = set(re.findall(rf"(?<![\w./-])((?:{tops})/[\w./-]*\w)", text))
    missing = [path for path in sorted(paths) if not (ROOT / path).exists()]
    # mlpeft.rpc is the package of the .proto.
    name = r"`((?:mlpeft(?!\.rpc\.)|coordinator|worker)(?:\.\w+)+)`"
    dotted = set(re.findall(name, text))
    missing += [name for name in sorted(dotted) if not _is_there(name)]
    assert missing == []


def _is_there(dotted: str) -> bool:
    """Whether a dotted name is a module, or a public name of one."""
    path = ROOT.joinpath(*dotted.split("."))
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    home, _, name = dotted.rpartition(".")
    return _is_there(home) and hasattr(importlib.import_module(home), name)

"""Importing mlpeft and asking for help change nothing; taking a name prepares MLX."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

LOOK = """
import ctypes, json, os, sys, threading

def look():
    return {
        "environment": dict(os.environ),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "BLAS for MLX": hasattr(ctypes.CDLL(None), "cblas_sgemm"),
        "temporary folder": __import__("tempfile").tempdir,
    }

before = look()
"""
TELL = """
mlx = [name for name in sys.modules if name == "mlx" or name.startswith("mlx.")]
after = look()
changed = sorted(name for name in before if before[name] != after[name])
print("\\n" + json.dumps({"mlx": mlx, "changed": changed}))
"""
HELP = """
from importlib import import_module
sys.argv = {argv!r}
try:
    import_module({module!r}).main()
except SystemExit as end:
    assert not end.code, end.code
"""


@pytest.fixture
def fresh(tmp_path):
    """Runs Python in a new interpreter; gives what it printed, and the new files."""
    folders = {
        name: tmp_path / name for name in ("HOME", "XDG_CACHE_HOME", "TMPDIR", "here")
    }
    for folder in folders.values():
        folder.mkdir()

    def run(code: str, *options: str) -> tuple[str, list[str]]:
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MLPEFT_", "TMPDIR"))
        }
        # Tests have made this process ready, and a child would inherit that.
        path = environment["PATH"].split(os.pathsep)
        environment["PATH"] = os.pathsep.join(p for p in path if "mlpeft" not in p)
        environment |= {name: str(folders[name]) for name in folders if name != "here"}
        environment |= {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, *options, "-c", code],
            env=environment,
            cwd=folders["here"],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        made = [str(p.relative_to(tmp_path)) for p in tmp_path.glob("*/**/*")]
        return done.stdout, made

    return run


@linux_only
@pytest.mark.parametrize(
    "action",
    [
        pytest.param("import mlpeft", id="import mlpeft"),
        *(
            pytest.param(HELP.format(argv=argv, module=module), id=" ".join(argv))
            for module, *argv in (
                ("mlpeft.cli", "mlpeft", "--help"),
                ("mlpeft.cli", "mlpeft", "train", "--help"),
                ("mlpeft.cli", "mlpeft", "evaluate", "--help"),
                ("mlpeft.cli", "mlpeft", "data", "list", "--help"),
                ("mlpeft.cli", "mlpeft", "--version"),
                ("mlpeft.cli", "mlpeft", "config"),
                ("coordinator.cli", "mlpeft-coordinator", "--help"),
                ("worker.cli", "mlpeft-worker", "--help"),
                ("worker.cli", "mlpeft-worker", "join", "--help"),
            )
        ),
    ],
)
def test_it_changes_nothing_in_the_process_or_on_disk(fresh, action):
    printed, made = fresh(LOOK + action + TELL)
    told = json.loads(printed.splitlines()[-1])
    assert told == {"mlx": [], "changed": []}
    assert made == []


@linux_only
@pytest.mark.parametrize(
    "first",
    [
        "from mlpeft import RunConfig",
        "import mlpeft; mlpeft.prepare()",
        "from mlpeft.models.mlp import SimpleClassifier",
        "from mlpeft.adapters.adapt import adapt",
        "from mlpeft.training.runner import ShardRunner",
        "from mlpeft.tasks.distribution import TaskDistribution",
    ],
)
def test_what_leads_to_mlx_makes_it_ready_before_it_is_imported(fresh, first):
    """A BLAS that cannot be loaded later than MLX would be told by a warning."""
    code = (
        f"{first}\n"
        "import os, mlx.core\n"
        "from mlpeft.platform import load_blas\n"
        "assert load_blas.cache_info().currsize == 1\n"
        "load_blas()\n"
        "assert 'XDG_CACHE_HOME' in os.environ['TMPDIR']\n"
    )
    _, made = fresh(code, "-W", "error")
    assert any("kernels" in name for name in made)


@linux_only
def test_mlx_before_the_first_name_is_told_with_what_to_do(fresh):
    code = (
        "import warnings, mlpeft, mlx.core\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    mlpeft.SimpleClassifier\n"
        "print(*(str(one.message) for one in caught))"
    )
    printed, _ = fresh(code)
    assert "call mlpeft.prepare(), before you import mlx" in printed


def imports_mlx(path: Path) -> bool:
    """Whether importing a module imports mlx by its own first lines."""
    return any(
        name.partition(".")[0] in {"mlx", "mlx_lm"}
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
        )
    )


def test_every_module_that_imports_mlx_is_in_a_package_that_prepares():
    modules = [path for path in (ROOT / "mlpeft").rglob("*.py") if imports_mlx(path)]
    assert len(modules) > 40
    for module in modules:
        package = ROOT / "mlpeft" / module.relative_to(ROOT / "mlpeft").parts[0]
        assert package.is_dir(), f"{module} imports mlx outside of any package"
        text = (package / "__init__.py").read_text(encoding="utf-8")
        assert "\nprepare()" in text, f"{module}: its package does not prepare"
    for folder in ("coordinator", "worker"):
        assert not any(map(imports_mlx, (ROOT / folder).rglob("*.py")))

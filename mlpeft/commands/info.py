"""`mlpeft info`: what this machine computes with."""

from __future__ import annotations

import importlib.metadata
import json
import platform as python_platform
from dataclasses import asdict
from typing import Any

import typer

from mlpeft import platform
from mlpeft.commands.options import Json

PACKAGES = ("mlpeft", "mlx", "numpy", "grpcio")
EXTRAS = {
    "plots": "matplotlib",
    "digits": "scikit-learn",
    "images": "pillow",
    "text": "tokenizers",
    "hub": "datasets",
    "lm": "mlx-lm",
    "search": "optuna",
    "dashboard": "starlette",
    "wandb": "wandb",
    "tensorboard": "tensorboard",
}
"""An extra of mlpeft, and the package that it brings."""


def info(json_output: Json = False) -> None:
    """Show versions, device, BLAS, memory and cores of this machine."""
    facts = gather()
    if json_output:
        typer.echo(json.dumps(facts, indent=1))
        return
    from rich.table import Table

    from mlpeft.reporting.terminal import output_console

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in _rows(facts):
        table.add_row(name, value)
    output_console().print(table)


def gather() -> dict[str, Any]:
    """Everything that `info` shows, as plain values for JSON."""
    blas = platform.prepare()
    machine = platform.describe_machine()
    cache = platform.private_compile_cache()
    return {
        "versions": {
            **{name: version(name) for name in PACKAGES},
            "python": python_platform.python_version(),
        },
        **asdict(machine),
        "available_memory_bytes": platform.available_memory_bytes(),
        "blas": {
            "name": blas.name,
            "path": None if blas.path is None else str(blas.path),
            "fast": blas.fast,
            "threads": platform.blas_threads(),
            "remedy": blas.remedy,
        },
        "fused": _fused_facts(),
        "base_dtype": asdict(platform.best_base_dtype()),
        "kernel_cache": None if cache is None else str(cache),
        "extras": {extra: version(package) for extra, package in EXTRAS.items()},
    }


def _fused_facts() -> dict[str, str | None]:
    """What compiles inner loops into native code, or why nothing does."""
    from mlpeft.fused import NoCompiler, find_compiler

    found = find_compiler()
    if isinstance(found, NoCompiler):
        return {"compiler": None, "version": None, "reason": found.reason}
    return {"compiler": found.path, "version": found.version, "reason": None}


def version(package: str) -> str | None:
    """The version of an installed package; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        (name, number or "not installed") for name, number in facts["versions"].items()
    ]
    rows.append(("system", facts["system"]))
    rows.append(("device", facts["device"]))
    rows.append(("Metal", facts["explanation"] or "available"))
    rows.append(("BLAS", _blas(facts["blas"])))
    fused = facts["fused"]
    compiler = f"{fused['version']} ({fused['compiler']})"
    rows.append(("fused inner loops", fused["reason"] or compiler))
    base = facts["base_dtype"]
    rows.append(("frozen base", f"{base['dtype']}: {base['reason']}"))
    memory = f"{facts['memory_bytes'] / 1e9:.1f} GB"
    free = facts["available_memory_bytes"]
    if free is not None:
        memory += f", {free / 1e9:.1f} GB available"
    rows.append(("memory", memory))
    rows.append(("cores", str(facts["cores"])))
    extras = [f"{name} {number}" for name, number in facts["extras"].items() if number]
    rows.append(("extras", ", ".join(extras) or "none"))
    return rows


def _blas(blas: dict[str, Any]) -> str:
    text = str(blas["name"])
    if blas["threads"] is not None:
        text += f", {blas['threads']} thread{'s' if blas['threads'] != 1 else ''}"
    if blas["path"]:
        text += f" ({blas['path']})"
    if not blas["fast"]:
        text += f": slow. {blas['remedy']}".rstrip(". ")
    return text

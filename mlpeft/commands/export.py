"""`mlpeft export`: an adapter or a start in the format of another tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlpeft.commands.options import AllowModule, MaybeConfig, Overrides


def export(
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="mlx-lm|peft|merged|onnx|sentence-transformers",
            help="For mlx-lm, for Hugging Face PEFT, the whole model merged, for "
            "onnxruntime (extra: onnx), or for sentence-transformers.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder to write.", show_default=False)],
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="A run's folder: its start is exported.", show_default=False),
    ] = None,
    adapter: Annotated[
        Path | None,
        typer.Option(help="Folder that `mlpeft adapt` wrote.", show_default=False),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option("--int8", help="With onnx: a model of 8-bit weights, too."),
    ] = False,
    config: MaybeConfig = None,
    overrides: Overrides = None,
    allow_module: AllowModule = None,
) -> None:
    """Write an adapter, or a run's start, for other tools, with a model card."""
    from mlpeft.adapters.store import check_is_adapter
    from mlpeft.exchange.export import Format, export_adapter

    if format_ not in set(Format):
        raise typer.BadParameter(
            f"{format_!r} is not one of {', '.join(Format)}", param_hint="--format"
        )
    if (checkpoint is None) == (adapter is None):
        raise typer.BadParameter(
            "give one of --checkpoint RUN and --adapter DIR", param_hint="--checkpoint"
        )
    if int8 and format_ != Format.ONNX:
        raise typer.BadParameter("it goes with --format onnx", param_hint="--int8")
    if adapter is not None and not adapter.is_dir():  # a run's folder goes, too
        check_is_adapter(adapter)
    source = checkpoint or adapter or Path()
    folder = export_adapter(
        source,
        format_,
        output,
        config=config,
        overrides=overrides or (),
        allow_modules=allow_module or (),
        int8=int8,
        tell=typer.echo,
    )
    names = ", ".join(sorted(file.name for file in folder.iterdir()))
    typer.echo(f"Written to {folder}: {names}")

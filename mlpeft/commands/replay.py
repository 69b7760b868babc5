"""`mlpeft replay`: compute a run again from what counted, and compare the bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlpeft.commands.options import AllowModule, Json

DIFFERS = 1
"""Exit code if a checkpoint has other bytes."""


def replay(
    run: Annotated[Path, typer.Argument(help="A run's folder.", show_default=False)],
    allow_module: AllowModule = None,
    json_output: Json = False,
) -> None:
    """Compute a run again on this machine, and compare every checkpoint of it.

    Rounds of cluster.mode quorum and async depend on who is fast. What counted is in
    the run's accepted.jsonl; from it one process comes to the same bytes, on a machine
    like those of the run. Exit code 1 if a checkpoint has others. Nothing is written.
    """
    import json
    from dataclasses import asdict

    from mlpeft.commands.progress import progress_bar
    from mlpeft.errors import CheckpointError
    from mlpeft.platform.home import expanded
    from mlpeft.training.replay import Replay
    from mlpeft.training.runner import ShardRunner
    from mlpeft.training.trained import load_trained

    run_dir = expanded(run)
    if not (run_dir / "steps").is_dir():
        raise CheckpointError(
            f"no run in {run_dir.absolute()}; give a run's folder, as `mlpeft train` "
            "prints it"
        )
    config = load_trained(run_dir, allow_modules=allow_module or ()).config
    runner = ShardRunner.from_config(config)
    found = []
    computed = Replay(runner, run_dir)
    with progress_bar(
        "replay", computed.iterations, "meta-iterations", quiet=json_output
    ) as advance:
        computed.progress = advance
        for each in computed.run():
            found.append(each)
            if not json_output:
                says = "same bytes" if each.same else "OTHER BYTES"
                typer.echo(
                    f"meta-iteration {each.iteration}: {says}, theta {each.digest[:12]}"
                )
    same = all(each.same for each in found)
    if json_output:
        typer.echo(
            json.dumps({"same": same, "steps": [asdict(each) for each in found]})
        )
    elif same:
        typer.echo(f"All {len(found)} checkpoints have the bytes of the replay.")
    else:
        typer.echo(
            "The replay has other bytes. Machines compute alike with the same chip "
            "family, BLAS, number of threads and MLX: run it on one like the workers'.",
            err=True,
        )
    if not same:
        raise typer.Exit(DIFFERS)

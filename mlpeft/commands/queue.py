"""`mlpeft queue`: runs that wait for their turn on one cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlpeft.commands.options import DASHBOARD, Json, Notify, Overrides, Ranges
from mlpeft.errors import counted
from mlpeft.launch import INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.config import RunConfig
    from mlpeft.queue.entry import QueuedRun
    from mlpeft.queue.store import Queue

app = typer.Typer(
    help="Run one configuration after the other on the same cluster.",
    no_args_is_help=True,
)

QueueFolder = Annotated[
    Path,
    typer.Option("--queue", envvar="MLPEFT_QUEUE", help="Folder of the queue."),
]
Names = Annotated[
    list[str] | None,
    typer.Argument(help="Numbers or names of runs, as `list` shows.", metavar="RUN..."),
]
DEFAULT = Path("queue")


@app.command()
def add(
    config: Annotated[Path, typer.Argument(help="The run's YAML file.")],
    overrides: Overrides = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Runs per setting: run.seed, run.seed + 1, ...")
    ] = 1,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SECTION.KEY=VALUE,VALUE...",
            help="Values of a key; may be given again. Every combination is run.",
            show_default=False,
        ),
    ] = None,
    search: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Add N runs whose settings Optuna proposes when they start, from the "
            "validation of those before (extra: search).",
            show_default=False,
        ),
    ] = None,
    ranges: Ranges = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with a run that its folder holds."),
    ] = False,
    queue: QueueFolder = DEFAULT,
    json_output: Json = False,
) -> None:
    """Add a run, one for each seed and setting, or a search.

    The configuration is checked and copied, tasks and data are looked for: a later
    change of the file changes nothing. A queue that is being run takes what you add.
    """
    from mlpeft.commands import queue_view
    from mlpeft.queue.plan import planned_runs, planned_search
    from mlpeft.queue.store import Queue

    changes, options = overrides or [], sweep or []
    space = None
    if search is None:
        if ranges:
            raise typer.BadParameter("a range needs --search N", param_hint="--range")
        configs = planned_runs(config, changes, seeds=seeds, sweep=options)
    elif seeds > 1:
        raise typer.BadParameter(
            "a search runs each setting once; give --seeds to the best one afterwards",
            param_hint="--seeds",
        )
    else:
        plan = planned_search(
            config, changes, search, sweep=options, ranges=ranges or []
        )
        configs, space = plan.configs, (plan.values, plan.ranges)
    _check_tasks(configs)
    store = Queue(queue)
    added = store.add(configs, Path.cwd(), resume=resume, space=space)
    if json_output:
        typer.echo(json.dumps([queue_view.record(run) for run in added]))
        return
    for run in added:
        typer.echo(f"added {run.number} {run.name}")
    if not store.is_run():
        where = "" if queue == DEFAULT else f" --queue {queue}"
        typer.echo(f"Next: mlpeft queue run{where}", err=True)


@app.command("list")
def list_(
    queue: QueueFolder = DEFAULT,
    runs: Annotated[
        bool,
        typer.Option(
            "--runs",
            help="Print only the folders of runs that are done, for other commands.",
        ),
    ] = False,
    json_output: Json = False,
) -> None:
    """Show all runs: which one runs, what waits, how the others ended."""
    from mlpeft.commands import queue_view
    from mlpeft.queue.entry import State
    from mlpeft.queue.store import Queue
    from mlpeft.reporting.terminal import output_console

    store = Queue(queue)
    listed = store.runs()
    if json_output:
        record = {"queue": str(queue), "running": store.is_run()}
        typer.echo(
            json.dumps(record | {"runs": [queue_view.record(run) for run in listed]})
        )
    elif runs:
        for run in listed:
            if run.state is State.DONE:
                typer.echo(_short(run.run_dir))
    elif not listed:
        typer.echo(f"no runs in {queue.absolute()}; add one: mlpeft queue add CONFIG")
    else:
        output_console().print(queue_view.table(listed))


@app.command()
def remove(
    names: Names = None,
    done: Annotated[
        bool, typer.Option("--done", help="All runs that are done.")
    ] = False,
    queue: QueueFolder = DEFAULT,
) -> None:
    """Take runs out of the queue; what they have saved stays."""
    from mlpeft.queue.entry import State

    store, chosen = _chosen(queue, names, State.DONE if done else None, "--done")
    store.remove([run.number for run in chosen])
    for run in chosen:
        typer.echo(f"removed {run.number} {run.name}")


@app.command()
def retry(
    names: Names = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="All runs that failed.")
    ] = False,
    queue: QueueFolder = DEFAULT,
) -> None:
    """Have runs that failed or were stopped wait again; they go on where they were."""
    from mlpeft.queue.entry import State

    store, chosen = _chosen(queue, names, State.FAILED if failed else None, "--failed")
    store.retry([run.number for run in chosen])
    for run in chosen:
        typer.echo(f"{run.number} {run.name} waits again")


@app.command()
def run(
    queue: QueueFolder = DEFAULT,
    listen: Annotated[
        str | None,
        typer.Option(
            help="host:port that every run's coordinator listens on.",
            show_default="the first run's cluster.listen",
        ),
    ] = None,
    local_workers: Annotated[
        int, typer.Option(min=0, help="Workers to start on this machine, too.")
    ] = 0,
    processes: Annotated[
        bool,
        typer.Option("--processes", help="Give each local worker its own process."),
    ] = False,
    security: Annotated[
        Path | None,
        typer.Option(
            help="Folder of certificates, from `mlpeft-coordinator init`.",
            show_default="the user's",
        ),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let anybody in, in the clear.")
    ] = False,
    dashboard: Annotated[
        str | None,
        typer.Option(
            help=f"Serve a live page at this host:port, such as {DASHBOARD}.",
            metavar="HOST:PORT",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Wait for more runs when none is left."),
    ] = False,
    notify: Notify = None,
    json_output: Json = False,
) -> None:
    """Run what waits, one run after the other, on the workers that come.

    Workers dial the address once (mlpeft-worker --coordinator HOST:PORT) and move from
    run to run by themselves. A run that fails does not stop the next. Ctrl-C saves the
    run under way; the same command goes on with it, also after kill -9.

    Exit code 1 if a run failed or was stopped.
    """
    from mlpeft.commands import queue_view
    from mlpeft.config import RunConfig
    from mlpeft.config.notify import notify_override
    from mlpeft.platform.process import asked_to_stop
    from mlpeft.queue.entry import State
    from mlpeft.queue.runner import Host, run_queue
    from mlpeft.queue.store import Queue
    from mlpeft.reporting.terminal import output_console

    if processes and not local_workers:
        raise typer.BadParameter("needs --local-workers N", param_hint="--processes")
    if notify is not None:  # now, not when the night is over
        RunConfig.from_dict({}, [notify_override(notify)], "--notify")
    store = Queue(queue)
    with store.held(), asked_to_stop() as should_stop:
        address = _address(store, listen)
        options = ["--listen", address, "--local-workers", str(local_workers)]
        options += ["--processes"] * processes + ["--insecure"] * insecure
        if security is not None:
            options += ["--security", str(security.absolute())]
        if dashboard is not None:
            options += ["--dashboard", dashboard]
        ended = run_queue(
            store,
            Host(tuple(options), quiet=json_output),
            say=lambda text: typer.echo(f"queue: {text}", err=True),
            should_stop=should_stop,
            keep=keep,
        )
        stopped = should_stop()
    if notify is not None and ended:
        _tell(notify, queue, ended)
    if json_output:
        typer.echo(json.dumps([queue_view.record(run) for run in ended]))
    elif ended:
        output_console().print(queue_view.table(ended))
        _next(queue, ended)
    else:
        typer.echo("nothing waits; add a run: mlpeft queue add CONFIG")
    if stopped:
        raise typer.Exit(INTERRUPTED)
    if any(run.state in {State.FAILED, State.STOPPED} for run in ended):
        raise typer.Exit(1)


def _tell(target: str, queue: Path, ended: Sequence[QueuedRun]) -> None:
    """Tell somebody how the queue ended."""
    from mlpeft.config import RunConfig
    from mlpeft.config.notify import notify_override
    from mlpeft.reporting.notify import Notice, send

    section = RunConfig.from_dict({}, [notify_override(target)]).notify
    failed = [run.name for run in ended if run.state == "failed"]
    count = len(ended) - len(failed)
    text = f"mlpeft queue {queue}: {counted(count, 'run')} ended, {len(failed)} failed"
    text += f" ({', '.join(failed)})" if failed else ""
    reason = "failed" if failed else "done"
    send(section, Notice.of(queue.name, reason, text, queue.absolute()))


def _chosen(
    queue: Path, names: list[str] | None, state: str | None, option: str
) -> tuple[Queue, tuple[QueuedRun, ...]]:
    """The runs that a command is for."""
    from mlpeft.queue.store import Queue

    if not names and state is None:
        raise typer.BadParameter(f"name a run, or give {option}", param_hint="RUN")
    store = Queue(queue)
    chosen = store.find(names or ())
    every = [run for run in store.runs() if state is not None and run.state == state]
    return store, tuple({run.number: run for run in (*chosen, *every)}.values())


def _check_tasks(configs: Sequence[RunConfig]) -> None:
    """Look for the data of runs now, not when their turn comes at night."""
    from mlpeft.tasks.build import build_tasks

    seen = set()
    for config in configs:
        tasks = json.dumps(config.to_dict()["task_distribution"], sort_keys=True)
        if tasks not in seen:
            seen.add(tasks)
            build_tasks(config)


def _address(store: Queue, listen: str | None) -> str:
    """Where all runs' coordinators listen."""
    from mlpeft.config import RunConfig
    from mlpeft.errors import ConfigError
    from mlpeft.transport.rpc.address import split_address

    if listen is None:
        waiting = store.waiting()
        if not waiting:
            return RunConfig().cluster.listen
        listen = RunConfig.load(store.config_file(waiting[0].number)).cluster.listen
    _, port = split_address(listen, "--listen")
    if port == 0:
        raise ConfigError(
            f"--listen {listen}: port 0 is another one for each run, so that workers "
            "would not find the next; name a port"
        )
    return listen


def _next(queue: Path, runs: Sequence[QueuedRun]) -> None:
    """What one does with runs that are done."""
    if any(run.state == "done" for run in runs):
        typer.echo(f"Next: mlpeft report {_short(queue)}")


def _short(path: Path) -> str:
    """A path as one types it here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)

"""One run on a cluster, from its folder to its end."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import typer

from mlpeft.errors import MlpeftError
from mlpeft.platform.process import asked_to_stop
from mlpeft.reporting import Reporters, build_reporters
from mlpeft.runtime import fingerprint
from mlpeft.runtime.compute import prepare
from mlpeft.runtime.coordinator.cluster_file import ClusterFile
from mlpeft.runtime.coordinator.executor import LATECOMERS_S, ClusterExecutor, Runtime
from mlpeft.runtime.coordinator.norms_file import NormsFile
from mlpeft.training.loop import train_run
from mlpeft.training.run_files import locked
from mlpeft.training.run_folder import as_begun, open_run, run_folder
from mlpeft.training.runner import ShardRunner
from mlpeft.transport.blobs.offer import Offer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlpeft.config import RunConfig
    from mlpeft.dashboard.of_coordinator import CoordinatorPage
    from mlpeft.training.loop import TrainResult
    from mlpeft.training.run import Run
    from mlpeft.transport.security.authority import Authority


class EndpointError(MlpeftError):
    """The addresses cannot be had: no fault of the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a coordinator is, and who computes for it.

    Attributes:
        host: Where to listen.
        port: Where to listen; 0 takes any that is free.
        authority: Who may enter; None: anybody, in the clear.
        local_workers: Workers on this machine.
        processes: Whether they are processes of their own.
        dashboard: Where a dashboard is served, host:port; None: nowhere.
        insecure: Whether the user wants no protection.
    """

    host: str
    port: int
    authority: Authority | None
    local_workers: int
    processes: bool
    dashboard: str | None = None
    insecure: bool = False


def run_on_cluster(
    config: RunConfig,
    place: Endpoint,
    *,
    resume: bool,
    console: bool,
    following: Callable[[], str] = str,
) -> tuple[TrainResult, bool]:
    """Meta-train on a cluster.

    All that can be refused comes before the port is opened: nobody is to join for
    nothing.

    Args:
        config: The configuration.
        place: Where, and with whom.
        resume: There must be a run to continue.
        console: Whether to show progress.
        following: What workers are told, behind the end of the run, of what comes
            next.

    Returns:
        How it ended, and whether a signal ended it.

    Raises:
        MlpeftError: If the run's folder, the address or a round fails.
    """
    with locked(run_folder(config)):
        with _of_endpoint():
            page = None if place.dashboard is None else _page(place)
        runner = ShardRunner.from_config(as_begun(config))
        run = open_run(runner, resume=True if resume else None)
        finished = run.finished
        if finished:  # nothing to compute: only workers that do not know it yet
            place = replace(place, local_workers=0)
        reporter = build_reporters(config, console=console)
        runtime = Runtime(
            runner.config,
            fingerprint.run_fingerprint(runner),
            fingerprint.own_versions(),
            prepare,
            place.authority,
            Offer.of(runner.config),
            page.recorder if page is not None else None,
        )
        reason = f"run {config.run.name}: failed"
        with asked_to_stop() as should_stop:
            try:
                with _of_endpoint():
                    _open(runtime, place)
                    if page is not None:
                        page.open(runtime, runner.config, run.run_dir)
                result = train_run(
                    run,
                    runner,
                    executor=ClusterExecutor(runtime, should_stop),
                    # Status and metrics hear of the run as the user does.
                    reporter=Reporters(
                        [
                            reporter,
                            runtime.reporter,
                            NormsFile(runtime),
                            ClusterFile(runtime),
                        ]
                    ),
                    should_stop=lambda: should_stop() or runtime.stopping(),
                )
                reason = f"run {config.run.name}: {result.reason}"
                if finished:
                    typer.echo(_finished_text(run), err=True)
                    runtime.tell_latecomers(reason, should_stop)
            finally:
                if page is not None:
                    page.close()
                runtime.close(reason if should_stop() else f"{reason}{following()}")
            return result, should_stop()


@contextmanager
def _of_endpoint() -> Iterator[None]:
    """What goes wrong here is no fault of the run."""
    try:
        yield
    except MlpeftError as error:
        raise EndpointError(str(error)) from error


def _page(place: Endpoint) -> CoordinatorPage:
    """The dashboard, not open yet.

    Raises:
        MlpeftError: If it cannot be had: before anything else is made.
    """
    from mlpeft.dashboard.of_coordinator import CoordinatorPage

    if place.dashboard is None:
        raise AssertionError
    return CoordinatorPage(place.dashboard, place.authority, insecure=place.insecure)


def _finished_text(run: Run) -> str:
    return (
        f"{run.run_dir} holds this run, done after {run.progress.iteration} "
        f"meta-iterations; telling workers that ask, for {LATECOMERS_S:g} s. To extend "
        "it: --resume --set meta_learning.num_meta_iterations=N; to start another: "
        "--set run.name=NAME"
    )


def _open(runtime: Runtime, place: Endpoint) -> None:
    """Listen, and say where."""
    address = runtime.start(
        place.host, place.port, place.local_workers, processes=place.processes
    )
    typer.echo(f"listening on {address}: {runtime.join_command}", err=True)
    if runtime.join_address is not None:
        joins = f"taking joins on {runtime.join_address}: mlpeft-worker join TOKEN"
        typer.echo(joins, err=True)
    if runtime.metrics_address is not None:
        metrics = f"serving metrics on http://{runtime.metrics_address}/metrics"
        typer.echo(metrics, err=True)

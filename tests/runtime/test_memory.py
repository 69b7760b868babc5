"""CoordinatorDriver and workers in one process, joined by queues."""

import asyncio
import dataclasses
import logging
import threading
from concurrent.futures import Future

import numpy as np
import pytest

from mlpeft.cluster import protocol as p
from mlpeft.cluster.sim import TOY_SIZE, serial_result, toy_shards
from mlpeft.errors import MlpeftError, RemoteProtocolError
from mlpeft.runtime.coordinator.driver import RoundFailedError, UnknownWorkerError
from mlpeft.runtime.memory import MemoryLink
from mlpeft.transport.rpc import join_codec
from tests.runtime.toy import (
    VERSIONS,
    ToyRunner,
    bounded,
    toy_coordinator,
    toy_run,
    toy_worker,
)


async def with_workers(driver, workers, work):
    """Work while workers run; the result of the work."""
    tasks = [asyncio.create_task(worker.run()) for worker in workers]
    try:
        return await work
    finally:
        driver.end("done")
        await asyncio.gather(*tasks)


async def joined(driver, name):
    """Wait until a worker is connected."""
    while name not in [worker.name for worker in driver.status().workers]:  # noqa: ASYNC110 - no event
        await asyncio.sleep(0)


def run_with(*runners):
    async def scenario():
        driver = toy_coordinator()
        workers = [
            toy_worker(MemoryLink(driver), name=f"w{index}", runner=runner)
            for index, runner in enumerate(runners)
        ]
        return await with_workers(driver, workers, toy_run(driver, rounds=4))

    return bounded(scenario())


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_any_number_of_workers_gives_the_serial_bytes(workers):
    theta = run_with(*[ToyRunner() for _ in range(workers)])
    assert theta.tobytes() == serial_result(4).tobytes()


def test_a_round_says_that_a_worker_computed_otherwise_than_the_run_says():
    def say(update):
        return dataclasses.replace(
            update, otherwise="vmap in place of fused: too large"
        )

    async def one_round(driver):
        result = Future()
        theta = np.ones(TOY_SIZE, dtype=np.float32)
        driver.submit(0, {"w": theta}, toy_shards(0), result)
        return await asyncio.wrap_future(result)

    async def scenario():
        driver = toy_coordinator()
        worker = toy_worker(MemoryLink(driver), runner=ToyRunner(say))
        return await with_workers(driver, [worker], one_round(driver))

    assert bounded(scenario()).otherwise == "vmap in place of fused: too large"


def test_log_lines_say_which_worker_and_lease_they_are_about(caplog):
    """So that `mlpeft logs --worker` finds them, and scripts need not read texts."""

    def break_down(update):
        raise MlpeftError("no more memory")

    with caplog.at_level(logging.INFO, "mlpeft"):
        run_with(ToyRunner(break_down), ToyRunner())
    failed = next(r for r in caplog.records if "w0 failed at" in r.getMessage())
    assert (failed.worker, failed.round) == ("w0", 1)
    assert f"shard {failed.shard} attempt {failed.attempt}" in failed.getMessage()
    joined = [r.worker for r in caplog.records if " joined " in r.getMessage()]
    assert joined == ["w0", "w1"]
    said = [r.worker for r in caplog.records if "takes part in run run" in r.message]
    assert said == ["w0", "w1"]


def test_a_lying_worker_is_named_and_changes_no_bytes(caplog):
    def lie(update):
        total = {"w": update.total["w"] * np.float32("nan")}
        return dataclasses.replace(update, total=total)

    with caplog.at_level(logging.WARNING, "mlpeft.coordinator"):
        theta = run_with(ToyRunner(lie), ToyRunner())
    assert theta.tobytes() == serial_result(4).tobytes()
    assert "by worker w0 refused: its sum has 16 values of 16" in caplog.text


def test_a_worker_that_cannot_compute_stops_the_round_with_its_story():
    def fail(update):
        raise MemoryError("8 GB wanted")

    with pytest.raises(RoundFailedError, match=r"attempt 3 on w0.*8 GB wanted"):
        run_with(ToyRunner(fail))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"versions": dataclasses.replace(VERSIONS, mlx="0.31.0")},
            "MLX 0.31.0 on the worker",
        ),
        ({"view": "another"}, "sees the run differently"),
    ],
)
def test_a_worker_that_does_not_fit_is_refused_and_ends(changes, reason):
    async def scenario():
        return await toy_worker(MemoryLink(toy_coordinator()), **changes).run()

    stop = bounded(scenario())
    assert stop.failed
    assert reason in stop.reason


def test_a_worker_that_cannot_prepare_ends_with_the_reason():
    def prepare(config):
        raise MlpeftError("no Omniglot here; run mlpeft data import")

    async def scenario():
        return await toy_worker(MemoryLink(toy_coordinator()), prepare=prepare).run()

    stop = bounded(scenario())
    assert stop.failed
    assert "cannot take part in the run: no Omniglot here" in stop.reason


def test_an_error_that_nobody_expected_ends_the_worker_with_it():
    class Broken(MemoryLink):
        async def open(self, hello):
            raise ZeroDivisionError

    async def scenario():
        await toy_worker(Broken(toy_coordinator())).run()

    with pytest.raises(ZeroDivisionError):
        bounded(scenario())


def test_a_join_is_good_for_one_stream():
    async def scenario():
        driver = toy_coordinator()
        link = MemoryLink(driver)
        request = join_codec.JoinRequest(
            1, VERSIONS.mlpeft, VERSIONS.mlx, "ada", "process"
        )
        response = await link.join(request)
        hello = p.Hello(response.worker_id, "toy", "same view")
        await link.open(hello)
        with pytest.raises(RemoteProtocolError, match="join again"):
            await link.open(hello)

    bounded(scenario())


def test_an_abandoned_round_has_no_result_and_the_next_one_has():
    async def scenario():
        driver = toy_coordinator()
        first = asyncio.create_task(toy_run(driver, rounds=1))
        await asyncio.sleep(0)
        driver.abandon("stop")
        with pytest.raises(RoundFailedError, match="stop"):
            await first
        workers = [toy_worker(MemoryLink(driver))]
        return await with_workers(driver, workers, toy_run(driver, rounds=4))

    assert bounded(scenario()).tobytes() == serial_result(4).tobytes()


def test_an_idle_worker_can_be_told_to_stop():
    async def scenario():
        driver = toy_coordinator()
        worker = toy_worker(MemoryLink(driver))
        task = asyncio.create_task(worker.run())
        await toy_run(driver, rounds=1)
        worker.request_stop("Ctrl-C")
        stop = await task
        await asyncio.sleep(0)
        return stop, driver.status().workers

    stop, workers = bounded(scenario())
    assert (stop.reason, stop.failed) == ("Ctrl-C", False)
    assert workers == ()


def test_a_worker_that_ends_in_the_middle_of_a_task_says_what_it_waits_for(caplog):
    """MLX cannot be interrupted in a task: the process must stay until it is done."""
    said, go_on = threading.Event(), threading.Event()

    class Watch(logging.Handler):
        def emit(self, record):
            if "letting the task in hand" in record.getMessage():
                go_on.set()

    def hold(update):
        said.set()
        assert go_on.wait(timeout=30)
        return update

    async def scenario():
        driver = toy_coordinator()
        task = asyncio.create_task(
            toy_worker(MemoryLink(driver), runner=ToyRunner(hold)).run()
        )
        work = asyncio.create_task(toy_run(driver, rounds=1))
        await asyncio.to_thread(said.wait, 30)
        driver.end("stopped")
        with pytest.raises(RoundFailedError, match="stopped"):
            await work
        return await task

    watch = Watch()
    log = logging.getLogger("mlpeft.worker")
    log.addHandler(watch)
    try:
        with caplog.at_level(logging.INFO, "mlpeft.worker"):
            assert bounded(scenario()).reason == "run over: stopped"
    finally:
        log.removeHandler(watch)


def test_a_drained_worker_ends_in_order_and_the_others_finish(caplog):
    """Drained before the first round: bob alone computes; ada's process has ended."""

    async def scenario():
        driver = toy_coordinator()
        ada, bob = (
            toy_worker(MemoryLink(driver), name=name) for name in ("ada", "bob")
        )
        work = asyncio.create_task(ada.run())
        await joined(driver, "ada")
        driver.drain("ada", "wanted elsewhere")
        stop = await work
        assert (stop.failed, stop.reason) == (False, "drained: wanted elsewhere")
        return await with_workers(driver, [bob], toy_run(driver, rounds=2))

    assert bounded(scenario()).tobytes() == serial_result(2).tobytes()


def test_draining_nobody_says_who_is_there():
    async def scenario():
        driver = toy_coordinator()
        with pytest.raises(UnknownWorkerError, match="'eve' is connected; connected: "):
            driver.drain("eve", "wanted elsewhere")

    bounded(scenario())


def test_a_paused_hub_goes_on_where_it_was_when_it_is_resumed():
    async def scenario():
        driver = toy_coordinator()
        driver.pause("lunch")
        work = asyncio.create_task(
            with_workers(
                driver, [toy_worker(MemoryLink(driver))], toy_run(driver, rounds=2)
            )
        )
        await joined(driver, "ada")
        assert driver.status().shards_in == 0
        assert not driver.status().leases
        driver.resume()
        return await work

    assert bounded(scenario()).tobytes() == serial_result(2).tobytes()


def test_a_shard_on_a_computing_thread_that_hangs_is_run_elsewhere(caplog):
    """W0 stands still at its first shard while its heartbeats come; 0.2 s a lease."""
    go_on = threading.Event()

    def hang(update):
        go_on.wait(timeout=60)
        return update

    async def scenario():
        driver = toy_coordinator(
            {"lease_s": 0.2, "quarantine_after": 1, "backup_factor": 0}
        )
        runners = [ToyRunner(hang), ToyRunner()]
        workers = [
            toy_worker(MemoryLink(driver), name=f"w{index}", runner=runner)
            for index, runner in enumerate(runners)
        ]

        async def work():
            await joined(driver, "w0")
            await joined(driver, "w1")
            try:
                theta = await toy_run(driver, rounds=2)
                return theta, driver.status().workers
            finally:
                go_on.set()

        return await with_workers(driver, workers, work())

    with caplog.at_level(logging.WARNING):
        theta, workers = bounded(scenario())
    assert theta.tobytes() == serial_result(2).tobytes()
    by_name = {worker.name: worker for worker in workers}
    assert by_name["w0"].quarantined.startswith("a shard failed, last: late: ")
    assert by_name["w1"].shards_done == 6
    assert "worker w0: round 1 shard" in caplog.text
    assert "the coordinator says: quarantined, no shards for now" in caplog.text


def test_a_worker_goes_from_one_run_to_the_next(caplog):
    """The end of a run is no broken connection: nothing is warned of."""

    async def scenario():
        first, second = toy_coordinator(), toy_coordinator()
        link = MemoryLink(first)
        worker = toy_worker(link, once=False)
        task = asyncio.create_task(worker.run())
        await joined(first, "ada")
        link._driver = second
        first.end("done")
        theta = await toy_run(second, rounds=2)
        worker.request_stop("enough")
        await task
        return theta

    with caplog.at_level(logging.INFO, "mlpeft.worker"):
        theta = bounded(scenario())
    assert theta.tobytes() == serial_result(2).tobytes()
    assert "run over: done; waiting for the next" in caplog.text
    assert "connection lost" not in caplog.text

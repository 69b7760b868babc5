"""A process that is kept alive, and ends with whoever keeps it."""

import asyncio
import logging
import sys

import pytest

from mlpeft.config import RunConfig
from mlpeft.runtime.coordinator.worker_processes import (
    Restarts,
    Supervisor,
    worker_command,
)
from tests.runtime.toy import bounded

AT_ONCE = Restarts(most=2, first_s=0.0)


def python(code):
    return [sys.executable, "-I", "-S", "-c", code]


def supervised(code, restarts=AT_ONCE):
    """Let a process be kept alive until it is given up; the reasons."""

    async def scenario():
        reasons = []
        given_up = asyncio.Event()

        def note(reason):
            reasons.append(reason)
            given_up.set()

        supervisor = Supervisor("local-0", python(code), note, restarts)
        await given_up.wait()
        await supervisor.end()
        return reasons

    return bounded(scenario())


def test_waits_grow_up_to_the_longest_and_then_there_is_an_end():
    waits = [Restarts().delay_s(deaths) for deaths in range(1, 8)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, None, None]
    assert Restarts(most=9).delay_s(9) == 10.0


def test_one_that_dies_is_started_again_a_bounded_number_of_times(caplog):
    caplog.set_level(logging.INFO, "mlpeft")
    (reason,) = supervised("import os; os.kill(os.getpid(), 9)")
    assert "ended 3 times in a row" in reason
    assert reason.endswith("the last time it was killed by SIGKILL")
    assert caplog.text.count("is process") == 3
    assert "local-0 was killed by SIGKILL; restarting it in 0 s (1 of 2)" in caplog.text
    assert "(2 of 2)" in caplog.text


def test_what_a_failed_one_said_last_is_told():
    (reason,) = supervised("raise SystemExit('error: no such model')")
    assert "failed with exit code 1: error: no such model" in reason


def test_one_that_cannot_be_started_is_given_up():
    async def scenario():
        given_up = asyncio.get_running_loop().create_future()
        supervisor = Supervisor("x", ["/nonexistent"], given_up.set_result, AT_ONCE)
        reason = await given_up
        await supervisor.end()
        return reason

    assert "could not be started" in bounded(scenario())


@pytest.mark.parametrize(
    "code",
    [
        "raise SystemExit(0)",  # ends with the run
        "import sys; sys.stdin.read()",  # has not heard of it, but is tied
        "import sys, time; time.sleep(99)",  # heeds nothing
    ],
)
def test_all_end_with_the_run_and_none_is_started_again(code, monkeypatch, caplog):
    monkeypatch.setattr("mlpeft.runtime.coordinator.worker_processes.END_S", 0.2)
    caplog.set_level(logging.INFO, "mlpeft")

    async def scenario():
        supervisor = Supervisor("local-0", python(code), pytest.fail, AT_ONCE)
        while "is process" not in caplog.text:  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0)
        await supervisor.end()

    bounded(scenario())
    assert caplog.text.count("is process") == 1
    assert ("killing local worker" in caplog.text) == ("99" in code)


def test_a_local_worker_may_import_what_the_users_configuration_names():
    section = {
        "task_families": ["custom"],
        "task_params": {"entry_point": "my_tasks:episode"},
    }
    config = RunConfig.from_dict(
        {"task_distribution": section, "model": {"backbone": "my_models:make"}}
    )
    command = worker_command("unix:/somewhere", "local-0", config)
    assert command[-4:] == ["--allow-module", "my_models", "--allow-module", "my_tasks"]
    plain = worker_command("unix:/somewhere", "local-0", RunConfig.from_dict({}))
    assert "--allow-module" not in plain

"""When a machine may compute."""

import numpy as np
import pytest

from mlpeft.cluster.worker.conditions import (
    ConditionError,
    Conditions,
    Hours,
    Owner,
    Readings,
    duration_text,
    parse_duration,
)

NOON = 12 * 60
USED = "in use, until 5 min without input"


def test_a_touched_key_takes_the_machine_back_until_it_rests_again():
    owner = Owner(Conditions(idle_s=300))
    said = [
        owner.needs(Readings(minute=NOON, idle_s=idle_s), now)
        for now, idle_s in enumerate([400, 0, 299.9, 300, 1, 301])
    ]
    assert said == ["", USED, USED, "", USED, ""]


def test_the_machine_rests_on_battery():
    owner = Owner(Conditions(on_power=True))
    assert owner.needs(Readings(minute=0, on_battery=True), 0) == "on battery"
    assert owner.needs(Readings(minute=0, on_battery=False), 1) == ""


def test_a_hot_machine_goes_on_a_minute_after_it_has_cooled():
    owner = Owner(Conditions(when_cool=True))
    said = [
        bool(owner.needs(Readings(minute=0, pressure=pressure), now))
        for now, pressure in [(0, 1), (10, 2), (20, 0), (69, 1), (70, 1), (80, 3)]
    ]
    assert said == [False, True, True, True, False, True]


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("20-8", [20 * 60, 0, 7 * 60 + 59], [8 * 60, NOON, 19 * 60 + 59]),
        ("9:30-17:45", [9 * 60 + 30, NOON], [9 * 60 + 29, 17 * 60 + 45]),
        ("0-24", [0, NOON, 24 * 60 - 1], []),
        ("22-24", [23 * 60 + 59], [0, NOON]),
    ],
)
def test_hours_have_their_first_minute_and_not_their_last(text, inside, outside):
    hours = Hours.parse(text)
    assert all(map(hours.has, inside))
    assert not any(map(hours.has, outside))


@pytest.mark.parametrize("text", ["", "20", "20-", "25-8", "20:60-8", "8-8", "a-b"])
def test_hours_that_are_none_are_refused_with_an_example(text):
    with pytest.raises(ConditionError, match="such as 20-8"):
        Hours.parse(text)


def test_times_are_read_and_written_with_their_unit():
    seconds = [parse_duration(text, "--when-idle") for text in ("90s", "5m", "1.5h")]
    assert seconds == [90, 300, 5400]
    assert [duration_text(each) for each in seconds] == ["90 s", "5 min", "90 min"]
    for text in ("5", "0m", "-5m", "5 days", ""):
        with pytest.raises(ConditionError, match=r"--when-idle .*such as 90s, 5m"):
            parse_duration(text, "--when-idle")


def test_a_machine_that_says_nothing_is_its_owners():
    conditions = Conditions(idle_s=60, on_power=True, when_cool=True)
    reason = Owner(conditions).needs(Readings(minute=0), 0)
    assert reason.count("cannot tell") == 3


def test_all_reasons_are_told_and_without_conditions_there_is_none():
    conditions = Conditions(idle_s=300, on_power=True, hours=Hours.parse("20-8"))
    used = Readings(minute=NOON, idle_s=3, on_battery=True)
    assert Owner(conditions).needs(used, 0) == f"not in 20:00-08:00; {USED}; on battery"
    assert Owner(Conditions()).needs(used, 0) == ""
    assert conditions.any
    assert not Conditions().any


@pytest.mark.parametrize("seed", range(5))
def test_over_a_simulated_weekend_it_computes_only_when_it_may(seed):
    """Whatever people do at the machine: two days, a reading every ten seconds."""
    rng = np.random.default_rng(seed)
    conditions = Conditions(idle_s=300, when_cool=True, hours=Hours.parse("20-8"))
    owner, touched, hot, minutes = Owner(conditions), 0.0, -1e9, 0
    for now in range(0, 2 * 86_400, 10):
        touched = now if rng.random() < 0.01 else touched
        pressure = 2 if rng.random() < 0.002 else 0
        hot = now if pressure else hot
        minute = now // 60 % 1440
        readings = Readings(minute=minute, idle_s=now - touched, pressure=pressure)
        may = (
            (minute >= 1200 or minute < 480)
            and now - touched >= 300
            and now - hot >= 60
        )
        assert (owner.needs(readings, now) == "") == may
        minutes += may
    assert minutes > 0

"""Progress where there is no terminal."""

from mlpeft.commands.progress import lines, progress_bar


def said_at(times):
    """What is said of five steps of twenty episodes, done at these seconds."""
    said = []
    clock = iter([0.0, *times])
    advance = lines("Comparing", 100, "episodes", said.append, lambda: next(clock))
    for step, _ in enumerate(times, 1):
        advance(20 * step)
    return said


def test_a_line_comes_every_ten_seconds_with_the_time_left():
    assert said_at([6, 12, 18, 24, 30]) == [
        "Comparing: 40/100 episodes, 0:18 left",
        "Comparing: 80/100 episodes, 0:06 left",
    ]


def test_what_is_quick_and_what_is_done_says_nothing():
    assert said_at([1, 2, 3, 4, 60]) == []


def test_scripts_are_told_nothing(capsys):
    with progress_bar("Comparing", 10, "episodes", quiet=True) as advance:
        advance(5)
    assert capsys.readouterr() == ("", "")

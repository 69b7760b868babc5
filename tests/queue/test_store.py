"""The queue's folder, as several processes see it."""

import threading

import pytest

from mlpeft.config import RunConfig
from mlpeft.queue.entry import State
from mlpeft.queue.store import FILE, Queue, QueueError, with_queues


def config(name: str) -> RunConfig:
    return RunConfig.from_dict({"run": {"name": name}})


@pytest.fixture
def queue(tmp_path) -> Queue:
    made = Queue(tmp_path / "queue")
    made.add([config("a"), config("b"), config("c")], tmp_path)
    return made


def states(queue: Queue) -> list[tuple[str, State]]:
    return [(run.name, run.state) for run in queue.runs()]


def test_runs_are_taken_in_the_order_in_which_they_were_added(queue):
    with queue.held():
        assert [queue.take().name for _ in range(3)] == ["a", "b", "c"]
        assert queue.take() is None
        assert {state for _, state in states(queue)} == {State.RUNNING}


def test_the_configuration_is_a_copy(queue):
    assert RunConfig.load(queue.config_file(2)) == config("b")


def test_an_interrupted_run_comes_before_those_that_wait(queue):
    with queue.held():
        queue.take()
        queue.end(1, State.DONE, "")
        queue.take()
    assert states(queue)[1] == ("b", State.INTERRUPTED)
    assert [run.name for run in queue.waiting()] == ["c"]  # the file still says running
    with queue.held():
        assert [run.name for run in queue.waiting()] == ["b", "c"]
        assert queue.take().name == "b"


def test_two_processes_cannot_run_one_queue(queue):
    with (
        queue.held(),
        pytest.raises(QueueError, match=r"is run by process \d+ already"),
        queue.held(),
    ):
        pass


def test_looking_at_a_queue_keeps_nobody_from_running_it(queue):
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            queue.is_run()

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(20):
            with queue.held():
                assert queue.is_run()
    finally:
        stop.set()
        looking.join()


def test_runs_that_several_add_at_once_all_arrive_with_numbers_of_their_own(queue):
    folder = queue.folder.parent

    def add(name: str) -> None:
        Queue(queue.folder).add([config(f"{name}{i}") for i in range(2)], folder)

    adding = [threading.Thread(target=add, args=(name,)) for name in "def"]
    for thread in adding:
        thread.start()
    for thread in adding:
        thread.join()
    runs = queue.runs()
    assert [run.number for run in runs] == list(range(1, 10))
    for run in runs:
        assert RunConfig.load(queue.config_file(run.number)).run.name == run.name


def test_a_number_is_not_given_twice(queue):
    queue.remove([3])
    (added,) = queue.add([config("d")], queue.folder.parent)
    assert added.number == 4
    assert not queue.config_file(3).exists()


def test_a_running_run_is_not_removed(queue):
    with queue.held():
        queue.take()
        with pytest.raises(QueueError, match="end it with `mlpeft stop`"):
            queue.remove([1, 2])
    assert len(queue.runs()) == 3


def test_only_a_run_that_failed_or_was_stopped_is_retried(queue):
    with queue.held():
        queue.take()
        queue.end(1, State.FAILED, "out of luck")
        with pytest.raises(QueueError, match="b is waiting; only runs that failed"):
            queue.retry([1, 2])
        assert queue.runs()[0].reason == "out of luck"
        queue.retry([1])
        assert queue.take().name == "a"


def test_two_runs_cannot_share_a_folder(queue):
    with pytest.raises(QueueError, match="run 1 of the queue, waiting, has the folder"):
        queue.add([config("d"), config("a")], queue.folder.parent)
    assert len(queue.runs()) == 3, "all or none"


def test_a_folder_that_holds_a_run_is_not_taken_by_accident(queue, tmp_path):
    (tmp_path / "checkpoints" / "old" / "steps" / "00000004").mkdir(parents=True)
    with pytest.raises(QueueError, match="already holds a run; go on with it"):
        queue.add([config("old")], tmp_path)
    queue.add([config("old")], tmp_path, resume=True)


def test_a_damaged_file_is_not_overwritten(queue):
    (queue.folder / FILE).write_text("{}")
    for act in (queue.runs, queue.take, lambda: queue.add([config("d")], queue.folder)):
        with pytest.raises(QueueError, match="is not the file of a queue"):
            act()
    assert (queue.folder / FILE).read_text() == "{}"


def test_runs_are_found_by_number_and_name(queue):
    assert [run.number for run in queue.find(["c", "1", "a"])] == [3, 1]
    with pytest.raises(QueueError, match="there are: 1 a, 2 b, 3 c"):
        queue.find(["d"])


def test_a_queue_stands_for_the_folders_of_its_runs(queue, tmp_path):
    with pytest.raises(QueueError, match="is done yet"):
        with_queues([queue.folder], State.DONE)
    for run in queue.runs():
        run.run_dir.mkdir(parents=True)
    with queue.held():
        queue.take()
        queue.end(1, State.DONE, "")
        queue.take()
        folders = with_queues([tmp_path, queue.folder], State.RUNNING, State.DONE)
    assert [path.name for path in folders] == [tmp_path.name, "b", "a"]

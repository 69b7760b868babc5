"""The best worker with a free slot, of those that count."""

import hypothesis.strategies as st
from hypothesis import given

from mlpeft.cluster.coordinator.free_workers import FreeWorkers
from mlpeft.cluster.coordinator.messages import WorkerJoined
from mlpeft.cluster.policy import Candidate, choose_worker
from mlpeft.cluster.protocol import WorkerId

IDENTITIES = ["north", "south", "west"]
STEPS = st.lists(
    st.tuples(
        st.integers(0, 8),
        st.booleans(),
        st.integers(0, 3),
        st.booleans(),
        st.booleans(),
    ),
    max_size=30,
)


def info(number):
    """Two connections a process, and an identity for every third worker."""
    name = f"w{number}"
    identity = IDENTITIES[number % 3]
    return WorkerJoined(WorkerId(name), name, f"p{number // 2}", identity, 3)


def best(free, *, identities=(), processes=()):
    return free.first(lambda identity: identity not in identities, processes)


def test_the_worker_with_most_free_slots_that_is_no_straggler_comes_first():
    free = FreeWorkers()
    free.put(info(0), (True, -3, True, 0))
    free.put(info(1), (False, -1, True, 1))
    free.put(info(2), (False, -2, True, 2))
    assert best(free) == "w2"
    free.put(info(2), (False, -1, True, 2))
    assert best(free) == "w1"
    free.discard(WorkerId("w1"))
    free.discard(WorkerId("w2"))
    assert best(free) == "w0"


def test_identities_and_processes_can_be_passed_over():
    free = FreeWorkers()
    for number in range(4):
        free.put(info(number), (False, -1, True, number))
    assert best(free, identities={"north"}) == "w1"
    assert best(free, processes={"p0"}) == "w2"
    assert best(free, identities={"north", "south"}, processes={"p1"}) is None
    assert free.first_of(["west", "north"], {"p0"}) == "w2"
    assert best(free) == "w0", "a search changes nothing"


def test_a_search_looks_at_an_identity_once_however_many_rounds_there_were():
    """Each worker, of one identity and with two slots, gets one shard a round."""
    free = FreeWorkers()
    workers = [info(3 * number) for number in range(4)]
    looked_at = []
    for _ in range(50):
        for slots in (2, 1):
            for number, worker in enumerate(workers):
                looked_at.clear()
                free.first(lambda identity: not looked_at.append(identity))
                assert looked_at in ([], ["north"])
                free.put(worker, (False, -slots, True, number))


@given(STEPS, st.sets(st.sampled_from(IDENTITIES)), st.sets(st.sampled_from("0123")))
def test_the_heaps_choose_as_a_look_at_every_worker_does(steps, tried, ended):
    """`choose_worker` looks at each; a process that failed is tried no more."""
    free, candidates = FreeWorkers(), {}
    processes = {f"p{number}" for number in ended}
    for number, gone, slots, straggler, untried in steps:
        worker = info(number)
        if gone or not slots:
            free.discard(worker.worker)
            candidates.pop(number, None)
        else:
            free.put(worker, (straggler, -slots, not untried, number))
            candidates[number] = Candidate(
                worker.worker,
                worker.name,
                worker.process_id,
                worker.identity,
                slots,
                straggler=straggler,
                untried=untried,
            )
        joined = [candidates[each] for each in sorted(candidates)]
        for skipped, out in ((set(), set()), (tried, set()), (tried, processes)):
            counted = [
                each
                for each in joined
                if each.identity not in skipped and each.process_id not in out
            ]
            expected, _ = choose_worker(counted, ())
            assert best(free, identities=skipped, processes=out) == expected
        assert set(free.ranks()) == {each.worker for each in joined}
        assert bool(free) == bool(joined)

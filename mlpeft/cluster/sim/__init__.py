"""A cluster in one thread: virtual clock, hostile network, and the real state machines.

A `Simulation` joins one `CoordinatorMachine` and some `WorkerMachine`s by a network
that delays, repeats and reorders messages and drops connections, while workers crash,
freeze, hang, lie, are drained and come back, operators pause, and the coordinator
restarts from its newest theta. All that is random comes from one seed, so that a
schedule can be replayed:

    Simulation(seed=17).run().tobytes() == serial_result(rounds=6).tobytes()

    event_queue     virtual time
    fault_injector  all that is random: the faults, and when
    toy             what is computed
    network         lines that delay, repeat, reorder and break
    worker          a worker: state machine and computing thread
    coordinator     the coordinator: state machine and training loop
    simulation      one schedule
    schedules       a schedule of which the seed decides the cluster, too
"""

from mlpeft.cluster.sim.fault_injector import QUIET, Faults
from mlpeft.cluster.sim.schedules import (
    Schedule,
    any_schedule,
    check,
    check_loose,
)
from mlpeft.cluster.sim.simulation import Simulation
from mlpeft.cluster.sim.toy import (
    TOY_SIZE,
    ToyWork,
    Work,
    replayed,
    serial_result,
    toy_shards,
    toy_step,
    toy_update,
)

__all__ = [
    "QUIET",
    "TOY_SIZE",
    "Faults",
    "Schedule",
    "Simulation",
    "ToyWork",
    "Work",
    "any_schedule",
    "check",
    "check_loose",
    "replayed",
    "serial_result",
    "toy_shards",
    "toy_step",
    "toy_update",
]

"""A real training on this machine while its parts are struck, and what became of it.

schedule     what is struck, when and for how long, from a seed
processes    the processes that are started, struck and ended here
proxy        the network between workers and coordinator, which can be cut
observer     rounds and stalls, as the coordinator's status shows them
striker      applies a schedule to processes and network
training     coordinator and workers of the runs
reference    the same run without faults, in one process
experiment   all of it, and the verdict
"""

from mlpeft.runtime.chaos.experiment import Experiment, Verdict

__all__ = ["Experiment", "Verdict"]

"""The cluster's decisions, free of IO: no clock, no sockets, no threads, no MLX.

`CoordinatorMachine` and `WorkerMachine` take events and the time, and return
commands. The drivers in `mlpeft.runtime` turn bytes into events and commands into
bytes. `mlpeft.cluster.sim` runs both over a virtual clock and a hostile network.
"""

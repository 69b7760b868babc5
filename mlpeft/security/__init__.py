"""Who may enter the cluster: certificates, join tokens and the list of workers.

Nothing here opens a socket. `authority` is the coordinator's folder, `identity` a
worker's; `mlpeft.rpc.credentials` turns either into what gRPC wants. docs/security.md
says what this protects, against whom, and what it does not.
"""

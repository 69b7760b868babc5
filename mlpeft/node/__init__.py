"""The IO around the state machines, whatever the transport.

`Agent` drives a `WorkerState` over a `Link` and feeds a `ComputeThread`; `Hub` drives a
`CoordinatorState` for its `Peer`s. gRPC's links and peers are in `worker` and
`coordinator`; `memory` joins agents to a hub in the same process.
"""

"""The standard services of gRPC: health, and reflection.

With them any gRPC tool can ask whether a coordinator serves and what it understands.
Who may not call the service Cluster may not call these either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from mlpeft.transport.rpc import channel, cluster_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from mlpeft.runtime.coordinator.listen import Context

SERVICES = (channel.SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
"""What reflection tells of."""


class StandardServices:
    """Health and reflection of a server.

    Args:
        server: A `grpc.aio` server that is not started.
        let_in: Ends a call of whoever may not make it.
    """

    def __init__(
        self, server: Any, let_in: Callable[[Context], Awaitable[object]]
    ) -> None:
        self._health = _Health(let_in)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(
            _Reflection(let_in), server
        )

    async def serving(self) -> None:
        """From now on, work is taken in."""
        serving = health_pb2.HealthCheckResponse.SERVING
        await self._health.set(channel.SERVICE, serving)

    async def ending(self) -> None:
        """From now on, nothing is: who watches hears of it."""
        await self._health.enter_graceful_shutdown()


class _Health(health.aio.HealthServicer):
    def __init__(self, let_in: Callable[[Context], Awaitable[object]]) -> None:
        super().__init__()
        self._let_in = let_in

    async def Check(self, request: Any, context: Context) -> Any:  # noqa: N802 - gRPC's
        await self._let_in(context)
        return await super().Check(request, context)

    async def Watch(self, request: Any, context: Context) -> None:  # noqa: N802 - gRPC's
        await self._let_in(context)
        await super().Watch(request, context)


class _Reflection(reflection.aio.ReflectionServicer):
    def __init__(self, let_in: Callable[[Context], Awaitable[object]]) -> None:
        # The pool of the generated contract: it holds the standard services too.
        super().__init__(SERVICES, pool=cluster_pb2.DESCRIPTOR.pool)
        self._let_in = let_in

    async def ServerReflectionInfo(  # noqa: N802 - gRPC's
        self, requests: Any, context: Context
    ) -> AsyncIterator[Any]:
        await self._let_in(context)
        async for answer in super().ServerReflectionInfo(requests, context):
            yield answer

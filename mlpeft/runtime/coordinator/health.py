"""The standard gRPC services for health and reflection.

They let any gRPC tool ask whether a coordinator is serving and what its methods are.
Only callers admitted to the service Cluster may call them.
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
"""Services listed by reflection."""


class StandardServices:
    """Health and reflection of a server.

    Args:
        server: A `grpc.aio` server before its start.
        let_in: Aborts the call of a refused caller.
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
        """Report the server as serving."""
        serving = health_pb2.HealthCheckResponse.SERVING
        await self._health.set(channel.SERVICE, serving)

    async def ending(self) -> None:
        """Report the server as not serving, also to watchers."""
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
        # The descriptor pool of the generated code also holds the standard services.
        super().__init__(SERVICES, pool=cluster_pb2.DESCRIPTOR.pool)
        self._let_in = let_in

    async def ServerReflectionInfo(  # noqa: N802 - gRPC's
        self, requests: Any, context: Context
    ) -> AsyncIterator[Any]:
        await self._let_in(context)
        async for answer in super().ServerReflectionInfo(requests, context):
            yield answer

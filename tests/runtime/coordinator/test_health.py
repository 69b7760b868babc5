"""The standard services, asked with the standard clients."""

import asyncio

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from mlpeft.runtime.coordinator.enrolment import EnrolmentServer
from mlpeft.runtime.coordinator.server import Server
from mlpeft.runtime.worker.enrol import enrol
from mlpeft.transport.rpc import channel, credentials
from mlpeft.transport.security.authority import Authority
from tests.runtime.toy import bounded, toy_coordinator

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def check(connection):
    stub = health_pb2_grpc.HealthStub(connection)
    request = health_pb2.HealthCheckRequest(service=channel.SERVICE)
    return (await stub.Check(request, timeout=10)).status


async def reflect(connection, **question):
    stub = reflection_pb2_grpc.ServerReflectionStub(connection)
    request = reflection_pb2.ServerReflectionRequest(**question)
    return await stub.ServerReflectionInfo(iter([request]), timeout=10).read()


async def scenario_in_the_clear():
    server = Server(toy_coordinator())
    address = await server.start("127.0.0.1", 0)
    async with grpc.aio.insecure_channel(address) as connection:
        before = await check(connection)
        stub = health_pb2_grpc.HealthStub(connection)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=channel.SERVICE))
        seen = [(await watch.read()).status]
        stopping = asyncio.create_task(server.stop(0.1))
        seen.append((await watch.read()).status)
        await stopping
    return before, seen


def test_a_coordinator_serves_until_it_ends_and_who_watches_hears_of_it():
    before, seen = bounded(scenario_in_the_clear())
    assert before == SERVING
    assert seen == [SERVING, NOT_SERVING]


def test_a_tool_without_the_contract_can_ask_for_it():
    """As grpcurl does: the services, then the file that describes one."""

    async def scenario():
        server = Server(toy_coordinator())
        address = await server.start("127.0.0.1", 0)
        async with grpc.aio.insecure_channel(address) as connection:
            listed = await reflect(connection, list_services="")
            names = {s.name for s in listed.list_services_response.service}
            files = [
                await reflect(connection, file_containing_symbol=name)
                for name in sorted(names)
            ]
        await server.stop(0)
        return names, files

    names, files = bounded(scenario())
    assert names == {
        "mlpeft.rpc.Cluster",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    assert all(f.file_descriptor_response.file_descriptor_proto for f in files)


def test_who_is_shut_out_may_not_ask_these_services_either(tmp_path):
    async def scenario():
        authority = Authority.create(tmp_path / "ca", ["127.0.0.1"])
        server = Server(toy_coordinator(), authority)
        joins = EnrolmentServer(authority)
        port = int((await server.start("127.0.0.1", 0)).rpartition(":")[2])
        token = authority.new_token(await joins.start("127.0.0.1", 0, port))
        held = await asyncio.to_thread(enrol, token, tmp_path / "ada", "ada")
        codes = []
        async with credentials.worker_channel(held.address, held) as connection:
            assert await check(connection) == SERVING
            authority.revoke("ada")
            for ask in (check(connection), reflect(connection, list_services="")):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await ask
                codes.append(refused.value.code())
        await joins.stop()
        await server.stop(0)
        return codes

    assert bounded(scenario()) == [grpc.StatusCode.PERMISSION_DENIED] * 2

"""The port for joins against callers that send anything: only their own call ends."""

import asyncio

import grpc
import grpc.aio
import hypothesis.strategies as st
from hypothesis import given, settings

from mlpeft.runtime.coordinator.enrolment import RateLimit
from mlpeft.transport.rpc import channel, credentials, enrolment_codec
from mlpeft.transport.security import certificates
from tests.runtime.coordinator.test_secure_server import Secured

PATIENCE_S = 20
REFUSED = {
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.RESOURCE_EXHAUSTED,  # larger than the port takes
}
"""UNKNOWN would be an exception that nobody expected, INTERNAL one of the head node."""
REQUEST = certificates.new_request(certificates.new_key(), "eve")
TEXTS = st.text(max_size=40).filter(lambda text: text.isprintable() or "\n" in text)


def spoiled(secret):
    """Questions of Enrol, most with something wrong, some without a token."""
    cut = st.integers(0, len(REQUEST) - 2).map(lambda size: REQUEST[:size])
    requests = st.one_of(st.binary(max_size=200), cut, st.just(REQUEST))
    names = st.one_of(TEXTS, st.sampled_from(["operator", "../../ca", "a" * 9000]))
    question = st.builds(
        enrolment_codec.EnrolRequest,
        st.one_of(TEXTS, st.just("0" * 32)),
        names,
        requests,
    )
    with_token = st.builds(
        enrolment_codec.EnrolRequest,
        st.just(secret),
        names,
        st.one_of(st.binary(max_size=200), cut),
    )
    encoded = st.one_of(question, with_token).map(enrolment_codec.encode_request)
    return st.one_of(st.binary(max_size=80), encoded)


def test_nothing_but_a_token_and_a_sound_request_gets_a_certificate(tmp_path):
    """Garbage, cut requests, wrong secrets, odd names; then somebody joins."""
    with asyncio.Runner() as runner:

        def within(work):
            async def limited():
                async with asyncio.timeout(PATIENCE_S):
                    return await work

            return runner.run(limited())

        async def open_port():
            served = Secured(tmp_path, RateLimit(10_000, 1.0, 10_000))
            return await served.__aenter__()

        served = within(open_port())
        ca = served.authority.ca_certificate

        def ask(data):
            with credentials.join_channel(served.join_address, ca) as line:
                try:
                    line.unary_unary(channel.ENROL)(data, timeout=PATIENCE_S)
                except grpc.RpcError as error:
                    return error.code()
            return grpc.StatusCode.OK

        @given(spoiled(served.token.secret))
        @settings(max_examples=80, deadline=None)
        def besiege(data):
            assert within(asyncio.to_thread(ask, data)) in REFUSED

        besiege()
        names = [record.name for record in served.authority.workers()]
        assert names == []
        held = within(served.join())
        assert held.name == "ada"
        within(served.__aexit__())

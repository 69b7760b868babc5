"""Workers on their way in: joins, and the run's files for those that lack them."""

from __future__ import annotations

import logging
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from mlpeft.cluster.messages import about
from mlpeft.cluster.protocol import WorkerId
from mlpeft.cluster.validation import Versions, version_refusal, view_refusal
from mlpeft.errors import MlpeftError, RemoteProtocolError
from mlpeft.files import size_text
from mlpeft.transport.rpc.join_codec import JoinResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.cluster.protocol import Hello
    from mlpeft.transport.blobs.offer import Blob, Offer
    from mlpeft.transport.rpc.blob_codec import BlobRequest
    from mlpeft.transport.rpc.join_codec import JoinRequest

log = logging.getLogger("mlpeft.coordinator")

MOST_JOINS = 4096
"""Joins that are remembered until their stream opens; older ones must join again."""
MOST_JOINS_EACH = 512
"""Those of one identity: it forgets its own oldest, not others'."""
LARGE_BYTES = 1 << 20
"""Fetches of blobs as large as this are logged."""


class JoinRefusedError(MlpeftError):
    """A worker may not take part; the message says what mends it."""


class Joined(NamedTuple):
    """A worker that was let in.

    Attributes:
        request: What it said; its process id is made unlike that of any process of
            another identity.
        identity: Whom it counts as (`identities`).
    """

    request: JoinRequest
    identity: str


class Joins:
    """Lets workers in, from Join to Hello.

    Args:
        session: The coordinator's.
        config_yaml: The run's resolved configuration; it is what workers get.
        fingerprint: The coordinator's view of the run (`run_fingerprint`).
        versions: The coordinator's.
        offer: The files that workers may fetch.
        expect: Told of each sign that a worker gets ready.
    """

    def __init__(
        self,
        session: str,
        config_yaml: str,
        fingerprint: str,
        versions: Versions,
        offer: Offer,
        expect: Callable[[JoinRequest], None],
    ) -> None:
        self._session = session
        self._config_yaml = config_yaml
        self._fingerprint = fingerprint
        self._versions = versions
        self._offer = offer
        self._expect = expect
        self._joined: dict[WorkerId, Joined] = {}  # without a stream, oldest first
        self._fetched: dict[str, str] = {}  # the newest blob, by process_id

    def join(self, request: JoinRequest, identity: str) -> JoinResponse:
        """Let a worker in.

        Args:
            request: What it says of itself.
            identity: Whom it counts as.

        Raises:
            JoinRefusedError: If it has other versions.
        """
        theirs = Versions(
            request.protocol_version, request.mlpeft_version, request.mlx_version
        )
        _refuse(request, version_refusal(self._versions, theirs))
        worker = WorkerId(uuid.uuid4().hex[:16])
        # Or another machine could answer the leases of a process that it names.
        process_id = f"{identity}/{request.process_id}"
        request = replace(request, process_id=process_id)
        self._joined[worker] = Joined(request, identity)
        self._forget(identity)
        self._expect(request)
        return JoinResponse(
            worker, self._session, self._config_yaml, self._offer.assets
        )

    def _forget(self, identity: str) -> None:
        """Drop the oldest joins, of an identity and of all, if there are too many."""
        own = [
            id_ for id_, joined in self._joined.items() if joined.identity == identity
        ]
        for worker in own[: max(0, len(own) - MOST_JOINS_EACH)]:
            del self._joined[worker]
        while len(self._joined) > MOST_JOINS:
            del self._joined[next(iter(self._joined))]

    def take(self, hello: Hello) -> Joined:
        """The join that a stream belongs to; each is good for one stream.

        Raises:
            JoinRefusedError: If the worker sees the run differently.
            RemoteProtocolError: If it has not joined, or has a stream already.
        """
        joined = self._joined.pop(WorkerId(hello.worker_id), None)
        if joined is None:
            raise RemoteProtocolError(
                f"worker id {hello.worker_id[:40]!r} has not joined, or has a stream; "
                "join again"
            )
        _refuse(joined.request, view_refusal(self._fingerprint, hello.fingerprint))
        return joined

    def blob(self, request: BlobRequest) -> Blob:
        """The blob that a joined worker asks for.

        Raises:
            RemoteProtocolError: If it has not joined, or the run has no such blob.
        """
        joined = self._joined.get(WorkerId(request.worker_id))
        if joined is None:
            raise RemoteProtocolError(
                f"worker id {request.worker_id[:40]!r} has not joined; join again"
            )
        join = joined.request
        blob = self._offer.blob(request.sha256)
        if blob is None:
            raise RemoteProtocolError(
                f"{join.name} asks for a file that this run does not have"
            )
        is_new = self._fetched.get(join.process_id) != request.sha256
        self._fetched[join.process_id] = request.sha256
        while len(self._fetched) > MOST_JOINS:
            del self._fetched[next(iter(self._fetched))]
        log.log(
            logging.INFO
            if is_new and blob.size_bytes >= LARGE_BYTES
            else logging.DEBUG,
            "worker %s fetches %s (%s) from byte %d on",
            join.name,
            blob.label,
            size_text(blob.size_bytes),
            request.offset,
            extra=about(join.name),
        )
        self._expect(join)
        return blob

    def fetching(self, request: BlobRequest) -> None:
        """A transfer goes on."""
        joined = self._joined.get(WorkerId(request.worker_id))
        if joined is not None:
            self._expect(joined.request)


def _refuse(request: JoinRequest, refusal: str | None) -> None:
    """Raise JoinRefusedError if there is a reason to."""
    if refusal is None:
        return
    context = about(request.name)
    log.warning("worker %s refused: %s", request.name, refusal, extra=context)
    raise JoinRefusedError(refusal)

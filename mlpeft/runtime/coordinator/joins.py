"""Workers on their way in: joins, and the run's files for those that lack them."""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING

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

MOST_JOINS = 1024
"""Joins that are remembered until their stream opens; older ones must join again."""
LARGE_BYTES = 1 << 20
"""Fetches of blobs as large as this are logged."""


class JoinRefusedError(MlpeftError):
    """A worker may not take part; the message says what mends it."""


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
        self._joined: dict[WorkerId, JoinRequest] = {}  # without a stream, oldest first

    def join(self, request: JoinRequest) -> JoinResponse:
        """Let a worker in.

        Raises:
            JoinRefusedError: If it has other versions.
        """
        theirs = Versions(
            request.protocol_version, request.mlpeft_version, request.mlx_version
        )
        _refuse(request, version_refusal(self._versions, theirs))
        worker = WorkerId(uuid.uuid4().hex[:16])
        self._joined[worker] = request
        while len(self._joined) > MOST_JOINS:
            del self._joined[next(iter(self._joined))]
        self._expect(request)
        return JoinResponse(
            worker, self._session, self._config_yaml, self._offer.assets
        )

    def take(self, hello: Hello) -> JoinRequest:
        """The join that a stream belongs to; each is good for one stream.

        Raises:
            JoinRefusedError: If the worker sees the run differently.
            RemoteProtocolError: If it has not joined, or has a stream already.
        """
        request = self._joined.pop(WorkerId(hello.worker_id), None)
        if request is None:
            raise RemoteProtocolError(
                f"worker id {hello.worker_id[:40]!r} has not joined, or has a stream; "
                "join again"
            )
        _refuse(request, view_refusal(self._fingerprint, hello.fingerprint))
        return request

    def blob(self, request: BlobRequest) -> Blob:
        """The blob that a joined worker asks for.

        Raises:
            RemoteProtocolError: If it has not joined, or the run has no such blob.
        """
        join = self._joined.get(WorkerId(request.worker_id))
        if join is None:
            raise RemoteProtocolError(
                f"worker id {request.worker_id[:40]!r} has not joined; join again"
            )
        blob = self._offer.blob(request.sha256)
        if blob is None:
            raise RemoteProtocolError(
                f"{join.name} asks for a file that this run does not have"
            )
        log.log(
            logging.INFO if blob.size_bytes >= LARGE_BYTES else logging.DEBUG,
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
        join = self._joined.get(WorkerId(request.worker_id))
        if join is not None:
            self._expect(join)


def _refuse(request: JoinRequest, refusal: str | None) -> None:
    """Raise JoinRefusedError if there is a reason to."""
    if refusal is None:
        return
    context = about(request.name)
    log.warning("worker %s refused: %s", request.name, refusal, extra=context)
    raise JoinRefusedError(refusal)

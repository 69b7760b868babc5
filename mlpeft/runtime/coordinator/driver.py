"""Drives `CoordinatorMachine` for its peers: events in, commands out.

Everything here runs on one event loop; the executor brings the training
thread's calls to it. There are no decisions in this file.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import uuid
from typing import TYPE_CHECKING, Any, TypeAlias, assert_never

from mlpeft.cluster import messages as m
from mlpeft.cluster.coordinator import messages as cm
from mlpeft.cluster.coordinator.machine import CoordinatorMachine
from mlpeft.cluster.messages import about
from mlpeft.cluster.policy import Policy, shards_needed
from mlpeft.cluster.protocol import (
    Away,
    Draining,
    Heartbeat,
    Hello,
    Lease,
    LeaseReturn,
    Update,
    Welcome,
    WorkerId,
)
from mlpeft.config.aggregation import most_share
from mlpeft.errors import (
    LocalProtocolError,
    MlpeftError,
    RemoteProtocolError,
)
from mlpeft.meta import state
from mlpeft.meta.algorithms import ALGORITHMS
from mlpeft.runtime.coordinator.joins import Joins
from mlpeft.runtime.coordinator.thetas import Thetas
from mlpeft.runtime.timer import WakeupTimer
from mlpeft.training.runner import result_schema
from mlpeft.transport.blobs.offer import Offer
from mlpeft.transport.rpc.outbox import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future

    from mlpeft.cluster.coordinator.updates import Turn
    from mlpeft.cluster.overview import Bytes
    from mlpeft.cluster.protocol import LeaseKey, WorkerMessage
    from mlpeft.cluster.status import ClusterStatus
    from mlpeft.cluster.validation import Versions
    from mlpeft.config import RunConfig
    from mlpeft.params import ParamTree
    from mlpeft.rounds import RoundResult
    from mlpeft.runtime.coordinator.peer import Peer
    from mlpeft.transport.rpc.join_codec import JoinRequest
    from mlpeft.work import Shard

log = logging.getLogger("mlpeft.coordinator")

Observer: TypeAlias = (
    "Callable[[cm.CoordinatorEvent, Sequence[cm.CoordinatorCommand]], None]"
)
"""Is told of every event and of what the machine answered, on the event loop."""

_LEVELS = {
    m.Level.INFO: logging.INFO,
    m.Level.WARNING: logging.WARNING,
    m.Level.ERROR: logging.ERROR,
}


class RoundFailedError(MlpeftError):
    """A round that cannot be completed; the message lists its failures."""


MOST_RESTARTS = 3
"""How often a round begins again after an error of our own, before it fails."""


class UnknownWorkerError(MlpeftError):
    """Nobody of this name is connected."""


class CoordinatorDriver:
    """The coordinator, short of its transport.

    Args:
        config: The run's resolved configuration; it is what workers get.
        fingerprint: The coordinator's view of the run (`run_fingerprint`).
        versions: The coordinator's.
        offer: The files that workers may fetch.
    """

    def __init__(
        self,
        config: RunConfig,
        fingerprint: str,
        versions: Versions,
        offer: Offer | None = None,
    ) -> None:
        meta = config.meta_learning
        policy = Policy.from_config(
            config.cluster,
            displacement=ALGORITHMS[meta.algorithm].displacement,
            ordered_sum=meta.aggregation == "mean",
            results=result_schema(config),
            most_share=most_share(meta),
            audit_seed=secrets.token_hex(16),
        )
        self.config = config
        self.session = uuid.uuid4().hex[:16]
        self.versions = versions
        self.joins = Joins(
            self.session,
            config.for_others().to_yaml(),
            fingerprint,
            versions,
            offer or Offer(),
            self._expect,
        )
        self._machine = CoordinatorMachine(self.session, policy)
        self.observer: Observer | None = None
        """Watches; it must neither fail nor take long."""
        self._loop = asyncio.get_running_loop()
        self._timer = WakeupTimer(self._loop, self._wake)
        self._peers: dict[WorkerId, Peer] = {}
        self.stopping = False
        """Whether the run is to end after the round under way."""
        self.traffic = Traffic()
        """Of all peers together; a peer's own is a part of it."""
        self._names: dict[WorkerId, str] = {}
        self._thetas = Thetas(config, policy.max_staleness)
        self._held: list[asyncio.Future[None]] = []  # updates that wait for a turn
        self._round: Future[RoundResult] | None = None
        self._opened: cm.RoundOpened | None = None  # as it was asked for
        self._restarts = 0

    def invite(self, command: str) -> None:
        """Say how a worker is started, for what people are told while none is there."""
        self._machine.invite(command)

    # --- the training loop's side -----------------------------------------------------

    def submit(
        self,
        version: int,
        meta: ParamTree,
        shards: Sequence[Shard],
        result: Future[RoundResult],
    ) -> None:
        """Open a round; `result` gets what it returns, or why there is nothing."""
        self._thetas.take(version, meta)
        self._round, self._restarts = result, 0
        carried = state.carried(meta)
        need = shards_needed(self.config.cluster, shards)
        self._opened = cm.RoundOpened(version, tuple(shards), meta, carried, need)
        self._handle(self._opened)

    def note_step(self, version: int, step: ParamTree) -> None:
        """How theta of the next version follows from that before."""
        self._thetas.note_step(version, step)

    def abandon(self, reason: str) -> None:
        """Give up the open round, if there is one."""
        self._handle(cm.RoundAbandoned(reason))
        self._settle(RoundFailedError(reason))

    def end(self, reason: str) -> None:
        """Tell everybody that the run is over."""
        self._handle(cm.RunEnded(reason))
        self._settle(RoundFailedError(reason))
        self._timer.cancel()

    def status(self) -> ClusterStatus:
        """A picture of the cluster."""
        return self._machine.status(self._loop.time())

    def bytes_by_worker(self) -> dict[WorkerId, Bytes]:
        """What went over the connections that there are."""
        return {
            worker: peer.traffic.bytes_moved() for worker, peer in self._peers.items()
        }

    def norms(self) -> dict[str, list[float]]:
        """Norms of updates that counted, for the next session."""
        return self._machine.norms()

    def restore_norms(self, norms: Mapping[str, Any]) -> None:
        """Take in the norms of an earlier session.

        Raises:
            ValueError: If they are something else.
        """
        self._machine.restore_norms(norms)

    # --- the operator's side ----------------------------------------------------------

    def pause(self, reason: str) -> None:
        """Give out no more leases; shards in hand are finished."""
        self._handle(cm.PauseRequested(reason))

    def resume(self) -> None:
        """Give out leases again."""
        self._handle(cm.ResumeRequested())

    def stop_after_round(self) -> None:
        """Have the run end after the round under way, as the training loop sees it."""
        self.stopping = True
        self.resume()  # a round that is paused would not end, and the run with it

    def drain(self, worker: str, reason: str) -> None:
        """Have a worker finish the shard in hand and end its process.

        Args:
            worker: Name or id.
            reason: Told to the worker.

        Raises:
            UnknownWorkerError: If nobody of that name is connected.
        """
        self._known(worker)
        self._handle(cm.DrainRequested(worker, reason))

    def release(self, worker: str) -> None:
        """Give a quarantined worker shards again.

        Args:
            worker: Name or id.

        Raises:
            UnknownWorkerError: If nobody of that name is connected.
        """
        self._known(worker)
        self._handle(cm.ReleaseRequested(worker))

    def _known(self, worker: str) -> None:
        if not self._machine.named(worker):
            names = (
                ", ".join(record.name for record in self.status().workers) or "nobody"
            )
            raise UnknownWorkerError(
                f"no worker {worker!r} is connected; connected: {names}"
            )

    # --- the transport's side ---------------------------------------------------------

    def limit_bytes(self) -> int:
        """The largest update that can be right just now."""
        return self._thetas.limit_bytes

    def _expect(self, request: JoinRequest) -> None:
        self._handle(cm.WorkerExpected(request.name, request.process_id))

    def connect(self, hello: Hello, peer: Peer) -> WorkerId:
        """A joined worker's stream is open.

        Raises:
            JoinRefusedError: If it sees the run differently.
            RemoteProtocolError: If it has not joined, or has a stream already.
        """
        join, identity = self.joins.take(hello)
        worker, cluster = WorkerId(hello.worker_id), self.config.cluster
        self._peers[worker] = peer
        self._names[worker] = join.name
        peer.send(Welcome(cluster.heartbeat_s))
        self._handle(
            cm.WorkerJoined(
                worker,
                join.name,
                join.process_id,
                identity=identity,
                slots=cluster.slots,
                device=hello.device,
            )
        )
        return worker

    def receive(self, worker: WorkerId, message: WorkerMessage) -> None:
        """A message came on a worker's stream.

        Raises:
            RemoteProtocolError: If it may not come now, or cannot be handled.
        """
        match message:
            case Heartbeat() | Update() | LeaseReturn() | Draining() | Away():
                if isinstance(message, Update):
                    message = self._thetas.restored(message)
                error = self._handle(cm.MessageReceived(worker, message))
                if error is not None:
                    raise RemoteProtocolError(
                        f"its {type(message).__name__} cannot be handled: {error}"
                    )
            case Hello():
                raise RemoteProtocolError("a second Hello on one stream")
            case _:
                assert_never(message)

    def upload_turn(self, worker: WorkerId, key: LeaseKey) -> Turn:
        """Whether a large update whose head has come is to be read now."""
        return self._machine.upload_turn(worker, key)

    async def hold(self, worker: WorkerId, key: LeaseKey) -> None:
        """Keep an update waiting until its turn may have come."""
        self._handle(cm.UploadHeld(worker, key))
        changed: asyncio.Future[None] = self._loop.create_future()
        self._held.append(changed)
        await asyncio.wait([changed], timeout=self.config.cluster.heartbeat_s)

    def theta_moved(
        self, worker: WorkerId, version: int, done_bytes: int, total_bytes: int
    ) -> None:
        """A worker has read so much of theta."""
        self._handle(cm.ThetaMoved(worker, version, done_bytes, total_bytes))

    def update_moved(
        self, worker: WorkerId, key: LeaseKey, done_bytes: int, total_bytes: int
    ) -> None:
        """So much of a worker's update has come."""
        self._handle(cm.UpdateMoved(worker, key, done_bytes, total_bytes))

    def read_on(self, worker: WorkerId) -> None:
        """An update that was kept waiting is read now."""
        self._handle(cm.UploadHeld(worker, None))

    def disconnect(self, worker: WorkerId, reason: str) -> None:
        """A worker's stream ended."""
        if self._peers.pop(worker, None) is not None:
            self._handle(cm.WorkerLeft(worker, reason))
        self._names.pop(worker, None)

    # --- events in, commands out ------------------------------------------------------

    def _handle(self, event: cm.CoordinatorEvent) -> str | None:
        """The only way into the state machine.

        A bug in it must not end the run, since a peer may know how to reach it: the
        round begins again from its start, a few times, and then fails.

        Returns:
            What went wrong; None: nothing.

        Raises:
            LocalProtocolError: If this side may not send the event now.
        """
        problem = None
        try:
            self._execute(event)
        except LocalProtocolError as error:
            self._settle(error)
            raise
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            log.exception("%s failed", type(event).__name__)
            self._restart_round(problem)
        self._timer.set(self._machine.next_wakeup())
        if self._held and not isinstance(event, cm.UploadHeld):
            held, self._held = self._held, []
            for changed in held:
                if not changed.done():
                    changed.set_result(None)
        return problem

    def _execute(self, event: cm.CoordinatorEvent) -> None:
        commands = self._machine.handle(event, self._loop.time())
        for command in commands:
            self._obey(command)
        if self.observer is not None:
            self.observer(event, commands)

    def _restart_round(self, problem: str) -> None:
        """Begin the open round again: what is known of it may be wrong."""
        if self._round is None or self._opened is None:
            return
        self._restarts += 1
        try:
            self._execute(cm.RoundAbandoned(problem))
            if self._restarts <= MOST_RESTARTS:
                self._execute(self._opened)
                return
        except Exception:
            log.exception("the round cannot begin again")
        text = (
            f"the round failed with an error of the coordinator's own ({problem}). "
            "What was done before is saved: start again with --resume, and report the "
            "error in the log"
        )
        self._settle(RoundFailedError(text))

    def _wake(self) -> None:
        self._handle(m.TimePassed())

    def _obey(self, command: cm.CoordinatorCommand) -> None:
        match command:
            case cm.Send(worker, message):
                if isinstance(message, Lease):
                    name, key = self._names[worker], message.key
                    log.debug("%s leased to %s", key, name, extra=about(name, key))
                self._peers[worker].send(message)
            case cm.SendTheta(worker):
                if self._thetas.newest is not None:
                    self._peers[worker].send_theta(self._thetas.newest)
            case cm.DismissWorker(worker, reason):
                self._peers.pop(worker).dismiss(reason)
            case cm.CompleteRound(_, result):
                if self._round is not None:
                    waiting, self._round = self._round, None
                    waiting.set_result(result)
            case cm.FailRound(_, history):
                self._settle(RoundFailedError(history))
            case m.Announce(level, text, name, key):
                log.log(_LEVELS[level], text, extra=about(name, key))
            case _:
                assert_never(command)

    def _settle(self, error: Exception) -> None:
        """The open round, if any, has no result but this error."""
        result, self._round = self._round, None
        if result is not None:
            result.set_exception(error)

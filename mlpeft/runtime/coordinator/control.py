"""Executes operators' requests to a running coordinator."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, assert_never

from mlpeft.errors import MlpeftError
from mlpeft.transport.rpc.control_codec import Action, ControlRequest

if TYPE_CHECKING:
    from mlpeft.runtime.coordinator.admission import Caller
    from mlpeft.runtime.coordinator.driver import CoordinatorDriver
    from mlpeft.transport.security.authority import Authority

log = logging.getLogger("mlpeft.coordinator")


class NotOperatorError(MlpeftError):
    """The caller may read the status or compute, but not control the cluster."""


class Control:
    """Turns operators' requests into events of the cluster.

    Requests are idempotent: a call whose answer was lost may be repeated.

    Args:
        driver: The coordinator.
        authority: Says who is an operator; None: every caller is one.
    """

    def __init__(self, driver: CoordinatorDriver, authority: Authority | None) -> None:
        self._driver = driver
        self._authority = authority

    def execute(self, request: ControlRequest, caller: Caller | None) -> str:
        """Execute a request; returns a message on what happens now.

        Args:
            request: The request.
            caller: Who sent it; None without TLS, where everybody may.

        Raises:
            NotOperatorError: If the caller is not an operator.
            UnknownWorkerError: If no such worker is connected.
        """
        self._check(caller)
        return self.obey(request, caller.name if caller else "a user")

    def obey(self, request: ControlRequest, who: str) -> str:
        """Execute a request of somebody who may steer; as `execute`.

        Args:
            request: The request.
            who: As whom it is logged.
        """
        action = f"{request.action} {request.worker[:80]}".rstrip()
        log.info("%s requests: %s", who, action)
        match request.action:
            case Action.DRAIN:
                self._driver.drain(request.worker, f"by {who}")
                return f"{request.worker} finishes its shard and ends"
            case Action.RELEASE:
                self._driver.release(request.worker)
                return f"{request.worker} gets shards again"
            case Action.PAUSE:
                self._driver.pause(f"by {who}")
                return (
                    "paused: leased shards are finished, no others start; continue "
                    "with mlpeft resume"
                )
            case Action.RESUME:
                self._driver.resume()
                return "resumed: shards are leased again"
            case Action.STOP:
                self._driver.stop_after_round()
                return (
                    f"run {self._driver.config.run.name} is saved and ends after this "
                    "round; the same command resumes it"
                )
            case _:
                assert_never(request.action)

    def _check(self, caller: Caller | None) -> None:
        if self._authority is None or caller is None:
            return
        if not self._authority.is_operator(caller.serial):
            log.warning("refused a control request of %s: no operator", caller.name)
            raise NotOperatorError(
                f"the certificate of {caller.name} is a worker's; run this on the head "
                "node, or join this machine with a token of `mlpeft-coordinator token "
                "--operator`"
            )

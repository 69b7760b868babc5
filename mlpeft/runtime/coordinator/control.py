"""What operators may ask of a running coordinator."""

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
    """A caller who may look, or compute, but not steer."""


class Control:
    """Turns what operators ask for into events of the cluster.

    Asking twice is asking once: whoever repeats a call whose answer was lost does no
    harm.

    Args:
        driver: What is steered.
        authority: Who says who is an operator; None: everybody who gets here.
    """

    def __init__(self, driver: CoordinatorDriver, authority: Authority | None) -> None:
        self._driver = driver
        self._authority = authority

    def obey(self, request: ControlRequest, visitor: Caller | None) -> str:
        """Do what is asked; what happens now, for people.

        Args:
            request: What is asked.
            visitor: Who asks; None in the clear, where everybody may.

        Raises:
            NotOperatorError: If they may not.
            UnknownWorkerError: If it is about a worker that is not there.
        """
        self._check(visitor)
        who = visitor.name if visitor else "a user"
        log.info("%s asks: %s", who, f"{request.action} {request.worker[:80]}".rstrip())
        match request.action:
            case Action.DRAIN:
                self._driver.drain(request.worker, f"by {who}")
                return f"{request.worker} finishes the shard in hand and ends"
            case Action.RELEASE:
                self._driver.release(request.worker)
                return f"{request.worker} gets shards"
            case Action.PAUSE:
                self._driver.pause(f"by {who}")
                return (
                    "paused: shards in hand are finished, no others begin; "
                    "mlpeft resume goes on"
                )
            case Action.RESUME:
                self._driver.resume()
                return "shards are given out"
            case Action.STOP:
                self._driver.stop_after_round()
                return (
                    f"run {self._driver.config.run.name} is saved and ends after the "
                    "round under way; the same command goes on with it"
                )
            case _:
                assert_never(request.action)

    def _check(self, visitor: Caller | None) -> None:
        if self._authority is None or visitor is None:
            return
        if not self._authority.is_operator(visitor.serial):
            log.warning("%s asked to steer and may not", visitor.name)
            raise NotOperatorError(
                f"the certificate of {visitor.name} is a worker's, and only operators "
                "steer; do it on the head node, or join this machine with a token of "
                "`mlpeft-coordinator token --operator`"
            )

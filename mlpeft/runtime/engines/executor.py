"""The executor on an engine: theirs to place and retry, ours to check and to sum."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mlpeft.cluster.policy import Cause, Failure
from mlpeft.errors import ParamMismatch, counted
from mlpeft.rounds import RoundUpdates
from mlpeft.runtime.engines import patience
from mlpeft.runtime.engines.engine import Broken, EngineError, Lost, NoWorkerError
from mlpeft.runtime.engines.gate import Gate
from mlpeft.runtime.engines.patience import Patience
from mlpeft.runtime.engines.placement import Placement
from mlpeft.work import RoundInterruptedError, check_round

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from mlpeft.config import RunConfig
    from mlpeft.params import ParamTree
    from mlpeft.rounds import RoundResult
    from mlpeft.runtime.engines.engine import Done, Engine
    from mlpeft.runtime.engines.gate import OpenGate
    from mlpeft.work import Kind, Shard, ShardUpdate

log = logging.getLogger("mlpeft.engine")

ASK_S: Final = 0.25
"""Seconds between looks at whether someone asked to stop; a result wakes at once."""


@dataclass(frozen=True, slots=True)
class _Watch:
    """Who follows a round: asked whether to stop, and told how far it is."""

    should_stop: Callable[[], bool]
    progress: Callable[[Kind, int, int], None]


class EngineExecutor:
    """Computes rounds on an engine; an `mlpeft.work.Executor`.

    The engine tries again what fails there. Here is decided what counts: an update that
    is refused is asked for again, of another worker if there is one, and a worker that
    is unlike this process gets no more shards.

    Args:
        engine: With workers; closed by `close`.
        config: The run's resolved configuration.
        should_stop: Asked while a round is under way.
        progress: Called with kind, tasks done and tasks in all.

    Attributes:
        gate: Checks what comes back.
    """

    def __init__(
        self,
        engine: Engine,
        config: RunConfig,
        should_stop: Callable[[], bool] = lambda: False,
        progress: Callable[[Kind, int, int], None] = lambda *_: None,
    ) -> None:
        self.gate = Gate(config)
        self._engine = engine
        self._config = config
        self._watch = _Watch(should_stop, progress)
        self._placement = Placement(engine)
        self._version: int | None = None
        self._closed = False

    def run(
        self, version: int, meta: ParamTree, shards: Sequence[Shard]
    ) -> RoundResult:
        """Compute a round; see `mlpeft.work.Executor`.

        Raises:
            EngineError: If the engine has ended, or has had no worker for long.
        """
        check_round(version, shards, self._version)
        if version != self._version:
            self._placement.use(meta)
            self._version = version
        gate = self.gate.open(meta)
        current = _Round(
            self._engine, self._placement, gate, self._config, self._watch, shards
        )
        try:
            result = current.result()
        finally:
            self._engine.cancel()
        self.gate.close(gate)
        return result

    def close(self) -> None:
        """Let go of the engine. May be called twice."""
        if not self._closed:
            self._closed = True
            self._engine.close()


class _Round:
    """A round under way.

    Args:
        engine: Computes.
        placement: Has theta and takes shards.
        gate: The checks of this round.
        config: The run's.
        watch: Who follows it.
        shards: What to compute.
    """

    def __init__(
        self,
        engine: Engine,
        placement: Placement,
        gate: OpenGate,
        config: RunConfig,
        watch: _Watch,
        shards: Sequence[Shard],
    ) -> None:
        self._engine = engine
        self._watch = watch
        self._patience = Patience(engine, config.engine.wait_s)
        self._say_at = time.monotonic() + patience.SAY_S
        self._placement = placement
        self._gate = gate
        self._config = config
        self._shards = shards
        rule = config.meta_learning.aggregation
        self._updates = RoundUpdates(summed=rule == "mean")
        self._failures: dict[int, list[Failure]] = {}
        self._given: dict[int, int] = {}  # by shard: theta's, as `Placement` counts

    def result(self) -> RoundResult:
        """Have all shards computed, and wait until they are in."""
        engine, watch = self._engine, self._watch
        kind = self._shards[0].kind
        total = sum(len(shard.tasks) for shard in self._shards)
        watch.progress(kind, 0, total)
        self._submit(self._shards)
        while len(self._updates) < len(self._shards):
            self._check_wanted()
            done = engine.next_done(ASK_S)
            if done is None:
                if self._patience.check():
                    self._say()
                continue
            self._patience.over()
            self._say_at = time.monotonic() + patience.SAY_S
            if self._take(done, engine.name):
                watch.progress(kind, self._tasks_done(), total)
        return self._updates.result()

    def _say(self) -> None:
        """Log from time to time what the round waits for."""
        now = time.monotonic()
        if now < self._say_at:
            return
        self._say_at = now + patience.SAY_S
        log.info(
            "%d of %s done on %s, which has %s",
            len(self._updates),
            counted(len(self._shards), "shard"),
            self._engine.name,
            counted(len(self._placement.able()), "worker"),
        )

    def _take(self, done: Done, engine: str) -> bool:
        """A shard has ended; whether it counts. If not, it is asked for again."""
        shard = self._shards[done.shard]
        match done.result:
            case Broken(reason):
                raise EngineError(
                    f"{_name(shard)} cannot be computed; {engine} has tried it "
                    f"{counted(self._config.cluster.max_attempts, 'time')}: {reason}"
                )
            case Lost(reason):
                self._fail(shard, "a worker that went", Cause.LOST, reason)
                self._placement.give_again(self._given[shard.index])
            case reply if reply.update is None:
                self._placement.exclude(reply)
            case reply:
                return self._judge(shard, reply.worker, reply.update)
        self._submit([shard])
        return False

    def _submit(self, shards: Sequence[Shard], avoid: Collection[str] = ()) -> None:
        """Have shards computed, once there is somebody to do it."""
        while True:
            try:
                given = self._placement.submit(shards, avoid)
            except NoWorkerError:
                self._check_wanted()
                if not self._patience.check():
                    time.sleep(ASK_S)
            else:
                self._given.update((shard.index, given) for shard in shards)
                return

    def _check_wanted(self) -> None:
        """Leave the round if someone asked to stop.

        Raises:
            RoundInterruptedError: If so.
        """
        if self._watch.should_stop():
            raise RoundInterruptedError(
                f"stopped while {counted(len(self._shards), 'shard')} were on "
                f"{self._engine.name}"
            )

    def _judge(self, shard: Shard, worker: str, update: ShardUpdate) -> bool:
        able = self._placement.able()
        failures = self._failures.get(shard.index, [])
        refusal: str | None
        try:
            update = self._gate.restored(shard, update)
        except ParamMismatch as error:
            refusal = str(error)
        else:
            refusal = self._gate.refusal(
                shard, update, len(failures), worker, alone=len(able) <= 1
            )
        if refusal is None:
            self._updates.add(update)
            return True
        log.warning("update of %s by %s refused: %s", _name(shard), worker, refusal)
        self._fail(shard, worker, Cause.REFUSED, refusal)
        failed = {failure.worker for failure in self._failures[shard.index]}
        self._submit([shard], failed if set(able) - failed else ())
        return False

    def _fail(self, shard: Shard, worker: str, cause: Cause, reason: str) -> None:
        """Note a failed attempt.

        Raises:
            EngineError: If it was one too many.
        """
        failures = self._failures.setdefault(shard.index, [])
        attempt = len(failures) + 1
        failures.append(Failure(attempt, worker, worker, worker, cause, reason))
        if attempt >= self._config.cluster.max_attempts:
            listed = "\n".join(f"  - {failure}" for failure in failures)
            raise EngineError(
                f"{_name(shard)} failed {counted(attempt, 'time')}:\n{listed}"
            )

    def _tasks_done(self) -> int:
        return sum(len(self._shards[index].tasks) for index in self._updates)


def _name(shard: Shard) -> str:
    return f"shard {shard.index} of meta-iteration {shard.round}"

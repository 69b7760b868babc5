"""The runner of the executor contract, for workers in other processes.

Its hooks stay in the test's process: a worker asks over a connection, and what the hook
wants of the shard's progress is asked back.
"""

import os
import threading
from dataclasses import dataclass
from multiprocessing.connection import Client, Listener
from typing import Any

import numpy as np

from mlpeft.cluster.sim import toy_update
from mlpeft.errors import MlpeftError
from mlpeft.runtime.compute import Prepared
from mlpeft.work import Kind, ShardUpdate

KEY = b"of a test"


class Hooks:
    """Serves a hook to workers."""

    def __init__(self):
        self._listener = Listener(("127.0.0.1", 0), authkey=KEY)
        self.address = self._listener.address
        self.hook = lambda *_: None
        self.asking = threading.local()
        """`pid`: the process of the worker that a hook is called for."""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            try:
                connection = self._listener.accept()
            except OSError:
                return
            threading.Thread(
                target=self._answer, args=(connection, self.hook), daemon=True
            ).start()

    def _answer(self, connection, hook):
        def progress(done):
            connection.send(("progress", done))
            if not connection.recv():
                raise ConnectionAbortedError("the shard is not wanted")

        with connection:
            try:
                shard, self.asking.pid = connection.recv()
                hook(shard, progress)
            except MlpeftError as error:
                connection.send(("raise", str(error)))
            except (EOFError, OSError):
                return
            else:
                connection.send(("done", None))

    def close(self):
        self._listener.close()


@dataclass(frozen=True)
class AskFirst:
    """A contract's hook in another process."""

    address: Any

    def __call__(self, shard, progress):
        with Client(self.address, authkey=KEY) as connection:
            connection.send((shard, os.getpid()))
            while True:
                what, value = connection.recv()
                if what == "done":
                    return
                if what == "raise":
                    raise MlpeftError(value)
                try:
                    progress(value)
                except BaseException:
                    connection.send(False)
                    raise
                connection.send(True)


@dataclass(frozen=True)
class Prepare:
    """Makes the toy runner, whatever the configuration."""

    address: Any

    def __call__(self, config):
        return Prepared(FarRunner(AskFirst(self.address)), "toy", "view")


class FarRunner:
    """As the contract's, which would import pytest in every worker."""

    def __init__(self, before):
        self._before = before

    def run(self, meta, shard, progress=lambda _: None):
        self._before(shard, progress)
        update = toy_update(meta["w"], shard)
        if shard.kind is Kind.TRAIN:
            return update
        seeds = np.array([[task.seed] for task in shard.tasks], np.float32)
        return ShardUpdate(shard.index, update.count, {}, {"loss": seeds})

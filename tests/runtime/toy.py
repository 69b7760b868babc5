"""Runs of the simulator's toy tasks over real links, without MLX."""

import asyncio
from concurrent.futures import Future

import numpy as np

from mlpeft.cluster.sim import TOY_SIZE, toy_shards, toy_step, toy_update
from mlpeft.cluster.validation import Versions
from mlpeft.cluster.worker.machine import WorkerPolicy
from mlpeft.config import RunConfig
from mlpeft.rounds import RoundResult
from mlpeft.runtime.compute import ComputeThread, Prepared
from mlpeft.runtime.coordinator.driver import CoordinatorDriver
from mlpeft.runtime.worker.driver import WorkerDriver

VERSIONS = Versions(1, "0.1.0", "0.32.4")
CONFIG = RunConfig.from_dict(
    {
        "cluster": {"heartbeat_s": 0.05, "lost_after_s": 30, "max_attempts": 3},
        # As of `toy_update`: there is no query loss.
        "task_distribution": {"train_query_size": 0},
    }
)


class ToyRunner:
    """Computes toy shards; `spoil` may change an update or raise."""

    def __init__(self, spoil=lambda update: update):
        self.spoil = spoil

    def run(self, meta, shard, progress=lambda _: None):
        progress(len(shard.tasks))
        return self.spoil(toy_update(meta["w"], shard))


def toy_coordinator(cluster=()):
    """A driver; `cluster` overrides its section's keys."""
    section = CONFIG.cluster.model_copy(update=dict(cluster))
    config = CONFIG.model_copy(update={"cluster": section})
    return CoordinatorDriver(config, "same view", VERSIONS)


def toy_worker(
    link,
    name="ada",
    view="same view",
    versions=VERSIONS,
    runner=None,
    prepare=None,
    wakefulness=None,
    fetch_assets=None,
    welcome_s=30.0,
    once=True,
    watch=None,
):
    def make_runner(config):
        assert config.model_copy(update={"cluster": CONFIG.cluster}) == CONFIG
        return Prepared(runner or ToyRunner(), "toy", view)

    return WorkerDriver(
        link,
        lambda post: ComputeThread(prepare or make_runner, post),
        policy=WorkerPolicy(
            first_delay_s=0.01, announce_s=0.01, welcome_s=welcome_s, once=once
        ),
        name=name,
        versions=versions,
        fetch_assets=fetch_assets,
        wakefulness=wakefulness,
        watch=watch,
    )


async def toy_run(driver, rounds, size=TOY_SIZE):
    """Train on a driver's workers; theta."""
    theta = np.ones(size, dtype=np.float32)
    for index in range(rounds):
        result: Future[RoundResult] = Future()
        driver.submit(index, {"w": theta}, toy_shards(index), result)
        theta = toy_step(theta, await asyncio.wrap_future(result))
    return theta


def bounded(scenario):
    """Run a scenario; a failure takes a minute, not for ever."""

    async def limited():
        async with asyncio.timeout(60):
            return await scenario

    return asyncio.run(limited())

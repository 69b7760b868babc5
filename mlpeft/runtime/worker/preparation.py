"""Getting ready for a run: its configuration, its files, and a runner for it."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from mlpeft.config import RunConfig, parse_yaml
from mlpeft.errors import MlpeftError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from mlpeft.runtime.compute import ComputeThread, Prepared
    from mlpeft.runtime.worker.link import Link
    from mlpeft.transport.blobs.manifest import OfferedAsset
    from mlpeft.transport.blobs.transfer import Fetch
    from mlpeft.transport.rpc.join_codec import JoinResponse

    FetchAssets = Callable[
        [RunConfig, Sequence[OfferedAsset], Fetch], Awaitable[dict[str, Path]]
    ]

log = logging.getLogger("mlpeft.worker")


class Preparation:
    """Makes a worker ready for the run that it joined, unless it is.

    Args:
        link: The way to the coordinator, for the run's files.
        fetch_assets: Brings these files to this machine; None: they are here.
    """

    def __init__(self, link: Link, fetch_assets: FetchAssets | None) -> None:
        self._link = link
        self._fetch_assets = fetch_assets
        self._ready_for: object = None  # configuration and assets of _prepared
        self._prepared: Prepared | None = None
        self.run = ""
        """Name of the run that it is ready for."""

    async def prepare(self, response: JoinResponse, compute: ComputeThread) -> Prepared:
        """Have the run's files and be ready for it; it may be the one before.

        Args:
            response: The coordinator's answer to the join.
            compute: The thread that will compute.

        Raises:
            MlpeftError: If this worker cannot, whatever the reason: a configuration
                comes from another machine, and may ask for anything.
        """
        run = (response.config_yaml, response.assets)
        if self._prepared is None or run != self._ready_for:
            tree = parse_yaml(response.config_yaml)
            config = RunConfig.from_dict(tree, source="the run")
            try:
                self._prepared = await self._make_ready(config, response, compute)
            except MlpeftError:
                raise
            except Exception as error:
                log.debug("the run cannot be prepared", exc_info=True)
                raise MlpeftError(f"{type(error).__name__}: {error}") from error
            self._ready_for = run
            self.run = config.run.name
        return self._prepared

    async def _make_ready(
        self, config: RunConfig, response: JoinResponse, compute: ComputeThread
    ) -> Prepared:
        files: dict[str, Path] = {}
        if self._fetch_assets is not None:
            fetch = partial(self._link.fetch, response.worker_id)
            files = await self._fetch_assets(config, response.assets, fetch)
        return await asyncio.wrap_future(compute.prepare(config, files))

"""The executor on Ray: a real cluster on this machine."""

import pytest

from mlpeft.runtime.engines.shard import RunSpec, versions_with_blas
from tests.runtime.engines.engine_contract import ATTEMPTS, EngineContract

pytest.importorskip("ray", reason="the extra `ray` is not installed")
RayEngine = pytest.importorskip("mlpeft.runtime.engines.ray").RayEngine


@pytest.fixture(scope="module")
def cluster():
    """Two workers, which all tests share: Ray knows one cluster a process."""
    spec = RunSpec("", versions_with_blas(), "view")
    engine = RayEngine.start(spec, 2, ATTEMPTS, 0.0)
    yield engine
    engine.close()


class TestRayExecutor(EngineContract):
    @pytest.fixture(autouse=True)
    def _started(self, cluster):
        pass

    def engine(self, spec):
        return RayEngine(spec, "this machine", attempts=ATTEMPTS, ours=False)

"""Dask with encrypted connections: certificates are those of its configuration."""

import gc

import pytest

from mlpeft.runtime.engines.engine import EngineError
from mlpeft.runtime.engines.kinds import EngineKind
from mlpeft.runtime.engines.session import train_on_engine
from mlpeft.runtime.engines.shard import RunSpec, versions_with_blas
from mlpeft.training.loop import train
from tests.training.executor_contract import CONFIG

distributed = pytest.importorskip(
    "distributed", reason="the extra `dask` is not installed"
)
pytest.importorskip("cryptography", reason="Dask makes certificates with it")
dask = pytest.importorskip("mlpeft.runtime.engines.dask")

SPEC = RunSpec("", versions_with_blas(), "view")


class Silent:
    def __getattr__(self, _):
        return lambda *_: None


def as_configured(security):
    """What a user writes: here the certificates themselves, else names of files."""
    return {
        "distributed.comm.tls.ca-file": security.tls_ca_file,
        "distributed.comm.tls.client.cert": security.tls_client_cert,
        "distributed.comm.tls.client.key": security.tls_client_key,
    }


@pytest.fixture(scope="module")
def security():
    return distributed.Security.temporary()


@pytest.fixture(scope="module")
def address(security):
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        security=security,
        dashboard_address=None,
    ) as cluster:
        yield cluster.scheduler_address


def test_a_training_over_tls_has_the_bytes_of_one_process(address, security, tmp_path):
    def config(name):
        return CONFIG.with_changes(
            run={"name": name},
            meta_learning={"num_meta_iterations": 2, "meta_batch_size": 2},
            model={"hidden_dim": 4},
            compute={"strategy": "loop", "shard_size": 1},
            evaluation={"num_val_episodes": 2},
            paths={"checkpoint_dir": str(tmp_path)},
        )

    assert address.startswith("tls://")
    with dask.dask.config.set(as_configured(security)):
        there = train_on_engine(
            config("tls"), EngineKind.DASK, address, reporter=Silent()
        )
    alone = train(config("alone"))
    assert there.reason == "done"
    assert {name: leaf.tobytes() for name, leaf in there.meta.items()} == {
        name: leaf.tobytes() for name, leaf in alone.meta.items()
    }


def test_without_certificates_the_error_names_the_settings(address):
    with pytest.raises(EngineError, match=r"no certificates.*comm\.tls\.ca-file"):
        dask.DaskEngine.connect(SPEC, address, 1, 0.0)


@pytest.mark.parametrize("scheme", ["tls://", "tcp://"])
def test_a_client_that_could_not_connect_is_closed_at_once(address, scheme):
    with pytest.raises(EngineError) as refused:  # which holds the client
        dask.DaskEngine.connect(SPEC, address.replace("tls://", scheme), 1, 0.0)
    clients = [one for one in gc.get_objects() if isinstance(one, distributed.Client)]
    assert {one.status for one in clients} <= {"running", "closed"}
    assert refused.value


def test_certificates_of_another_authority_are_refused(address):
    other = as_configured(distributed.Security.temporary())
    with (
        dask.dask.config.set(other),
        pytest.raises(EngineError, match="TLS certificate does not match"),
    ):
        dask.DaskEngine.connect(SPEC, address, 1, 0.0)


def test_a_client_in_the_clear_is_told_how_an_encrypted_address_looks(address):
    plain = address.replace("tls://", "tcp://")
    with pytest.raises(EngineError, match=r"or with TLS tls://HOST:8786"):
        dask.DaskEngine.connect(SPEC, plain, 1, 0.0)

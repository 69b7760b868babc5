"""`mlpeft train`: the options of engines."""

import pytest
from typer.testing import CliRunner

from mlpeft.cli import app
from mlpeft.runtime.engines import kinds
from mlpeft.runtime.engines.engine import EngineError
from mlpeft.runtime.engines.kinds import EngineKind, check_installed

TRAIN = ["train", "--config", "configs/digits.yaml"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--address", "tcp://head:8786"], "needs --engine dask or ray"),
        (["--workers", "2"], "needs --engine dask or ray"),
        (["--engine", "dask", "--address", "h:1", "--workers", "2"], "on this machine"),
        (["--engine", "spark"], "'spark' is not one of"),
    ],
)
def test_options_that_do_not_belong_together_are_refused(options, problem):
    result = CliRunner().invoke(app, [*TRAIN, *options])
    assert result.exit_code == 2
    assert problem in " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize("kind", EngineKind)
def test_an_engine_that_is_not_installed_is_an_error_with_the_command(
    kind, monkeypatch
):
    monkeypatch.setattr(kinds, "find_spec", lambda _: None)
    with pytest.raises(EngineError, match=rf"pip install 'mlpeft\[{kind}\]'"):
        check_installed(kind)

"""W&B and TensorBoard: only when switched on, and what they are sent."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError
from mlpeft.reporting import ConsoleReporter, JsonlReporter, build_reporters
from mlpeft.reporting.log_file import LogReporter
from mlpeft.reporting.sessions import SessionReporter
from mlpeft.reporting.tensorboard import TensorBoardReporter
from mlpeft.reporting.trackio import TrackioReporter
from mlpeft.reporting.wandb import WandbReporter


@pytest.fixture(autouse=True)
def log_folder(tmp_path, monkeypatch):
    """The log file lands there, not in the checkout."""
    monkeypatch.chdir(tmp_path)


def switched(name: str) -> RunConfig:
    return RunConfig.from_dict({"logging": {name: True}})


class FakeWandb(types.ModuleType):
    """Notes what runs were opened and what was logged to them."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.opened: list[dict] = []
        self.logged: list[dict] = []
        self.finished = 0

    def init(self, **settings) -> FakeWandb:
        self.opened.append(settings)
        return self

    def define_metric(self, name: str, step_metric: str) -> None:
        assert (name, step_metric) == ("*", "iteration")

    def log(self, scalars: dict) -> None:
        self.logged.append(scalars)

    def finish(self) -> None:
        self.finished += 1


class FakeWriter:
    """Notes scalars as TensorBoard's writer would get them."""

    made: list[FakeWriter] = []  # noqa: RUF012 - a fresh list for each test

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.scalars: list[tuple] = []
        self.calls: list[str] = []
        FakeWriter.made.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars.append((name, value, step))

    def flush(self) -> None:
        self.calls.append("flush")

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return fake


def test_by_default_there_are_three_files_and_the_terminal(config: RunConfig) -> None:
    kinds = [type(reporter) for reporter in build_reporters(config).reporters]
    files = [JsonlReporter, SessionReporter, LogReporter]
    assert kinds == [*files, ConsoleReporter]
    kinds = [type(r) for r in build_reporters(config, console=False).reporters]
    assert kinds == files


@pytest.mark.parametrize("package", ["wandb", "tensorboard", "trackio"])
def test_a_missing_extra_is_told_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError) as caught:
        build_reporters(switched(f"{package}_enabled"))
    assert f"pip install 'mlpeft[{package}]'" in str(caught.value)
    assert f"logging.{package}_enabled" in str(caught.value)


def test_wandb_gets_curves_over_iterations(
    wandb: FakeWandb, tmp_path: Path, config: RunConfig, result
) -> None:
    reporters = build_reporters(switched("wandb_enabled"), console=False)
    reporters.start(config, tmp_path, 0)
    reporters.iteration(1, {"support_loss": 0.5})
    reporters.iteration(2, {"support_loss": 0.4})  # too soon for another point
    reporters.validation(2, result)
    reporters.close()
    assert wandb.opened[0]["project"] == "mlpeft"
    assert wandb.opened[0]["config"] == config.to_dict()
    assert wandb.logged[0] == {"iteration": 1, "train/support_loss": 0.5}
    assert wandb.logged[1]["validation/acc_step_5"] == 0.9
    assert len(wandb.logged) == 2
    assert wandb.finished == 1


class FakeTrackio(types.ModuleType):
    """Notes what runs were opened and what was logged to them."""

    def __init__(self) -> None:
        super().__init__("trackio")
        self.opened: list[dict] = []
        self.logged: list[tuple[dict, int]] = []
        self.finished = 0

    def init(self, **settings) -> FakeTrackio:
        self.opened.append(settings)
        return self

    def log(self, metrics: dict, step: int) -> None:
        self.logged.append((metrics, step))

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def trackio(monkeypatch: pytest.MonkeyPatch) -> FakeTrackio:
    fake = FakeTrackio()
    monkeypatch.setitem(sys.modules, "trackio", fake)
    return fake


def test_trackio_gets_curves_over_iterations_and_a_resumed_run_goes_on(
    trackio: FakeTrackio, tmp_path: Path, config: RunConfig, result
) -> None:
    for first_iteration in (0, 2):
        reporters = build_reporters(switched("trackio_enabled"), console=False)
        reporters.start(config, tmp_path, first_iteration)
        reporters.iteration(first_iteration + 1, {"support_loss": 0.5})
        reporters.validation(first_iteration + 1, result)
        reporters.close()
    assert [opened["resume"] for opened in trackio.opened] == ["never", "allow"]
    assert {opened["name"] for opened in trackio.opened} == {config.run.name}
    assert trackio.logged[0] == ({"train/support_loss": 0.5}, 1)
    assert trackio.logged[1][0]["validation/acc_step_5"] == 0.9
    assert [step for _, step in trackio.logged] == [1, 1, 3, 3]
    assert trackio.finished == 2


def test_no_tracker_learns_whom_the_user_wants_told(
    wandb: FakeWandb, trackio: FakeTrackio, tmp_path: Path
) -> None:
    told = RunConfig.from_dict({"notify": {"webhook": "https://hook.example/5ecret"}})
    for reporter in (WandbReporter(), TrackioReporter()):
        reporter.start(told, tmp_path, 0)
    assert "5ecret" not in f"{wandb.opened}{trackio.opened}"


def test_a_resumed_run_goes_on_in_the_same_wandb_run_and_a_fresh_one_does_not(
    wandb: FakeWandb, tmp_path: Path, config: RunConfig
) -> None:
    for first_iteration in (0, 30, 0):
        reporter = WandbReporter()
        reporter.start(config, tmp_path, first_iteration)
        reporter.close()
    first, resumed, fresh = (opened["id"] for opened in wandb.opened)
    assert first == resumed != fresh


def test_the_users_wandb_project_is_honoured(
    wandb: FakeWandb,
    tmp_path: Path,
    config: RunConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    WandbReporter().start(config, tmp_path, 0)
    assert "project" not in wandb.opened[0]


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """A fake TensorBoard; folder and first step of each session that was begun."""
    begun: list[tuple[str, int]] = []

    class EventWriter:
        def __init__(self, folder: str) -> None:
            self.folder = folder

        def add_event(self, event: types.SimpleNamespace) -> None:
            assert event.session_log.status == "start"
            begun.append((self.folder, event.step))

        def close(self) -> None:
            pass

    modules = {
        "tensorboard": {"summary": types.SimpleNamespace(Writer=FakeWriter)},
        "tensorboard.compat.proto.event_pb2": {
            "Event": types.SimpleNamespace,
            "SessionLog": type("Log", (types.SimpleNamespace,), {"START": "start"}),
        },
        "tensorboard.summary.writer.event_file_writer": {
            "EventFileWriter": EventWriter
        },
    }
    for name, content in modules.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(FakeWriter, "made", [])
    return begun


def test_a_resumed_run_has_tensorboard_forget_what_was_beyond_its_checkpoint(
    sessions: list[tuple[str, int]], tmp_path: Path, config: RunConfig
) -> None:
    """A run that was killed had reported more than it saved."""
    for first_iteration in (0, 30):
        reporter = TensorBoardReporter()
        reporter.start(config, tmp_path, first_iteration)
        reporter.close()
    assert sessions == [
        (str(tmp_path / "tensorboard"), 1),
        (str(tmp_path / "tensorboard"), 31),
    ]


def test_tensorboard_gets_scalars_and_is_flushed_at_checkpoints(
    sessions: list[tuple[str, int]], tmp_path: Path, config: RunConfig, result
) -> None:
    reporters = build_reporters(switched("tensorboard_enabled"), console=False)
    reporters.start(config, tmp_path, 0)
    reporters.iteration(1, {"support_loss": 0.5})
    reporters.validation(1, result)
    reporters.checkpoint(1, tmp_path)
    reporters.close()
    (writer,) = FakeWriter.made
    assert writer.folder == str(tmp_path / "tensorboard")
    assert ("train/support_loss", 0.5, 1) in writer.scalars
    assert ("validation/loss_step_5", 0.3, 1) in writer.scalars
    assert writer.calls == ["flush", "close"]

"""A service of macOS, with launchd faked."""

import plistlib

import pytest

from mlpeft.platform import launchd
from mlpeft.platform.launchd import LaunchAgent
from mlpeft.platform.shell import Answer


class Launchd:
    """Answers launchctl; knows what is loaded."""

    def __init__(self, *, loaded=False, refuses=False):
        self.loaded = loaded
        self.refuses = refuses
        self.commands = []

    def __call__(self, command):
        self.commands.append(command)
        match command[1]:
            case "print":
                return Answer(0 if self.loaded else 113, "")
            case "bootout":
                self.loaded = False
            case "bootstrap":
                if self.refuses:
                    return Answer(5, "Bootstrap failed: 5: Input/output error")
                self.loaded = True
        return Answer(0, "")

    @property
    def words(self):
        return [command[1] for command in self.commands]


@pytest.fixture
def agent(tmp_path):
    return LaunchAgent(
        label="org.mlpeft.worker",
        arguments=["/venv/bin/python", "-m", "worker.cli"],
        environment={"MLPEFT_DATA_DIR": "/data"},
        log=tmp_path / "Library" / "Logs" / "mlpeft" / "worker.log",
        home=tmp_path,
    )


def test_a_description_names_the_program_and_keeps_it_alive(agent, tmp_path):
    description = plistlib.loads(agent.plist())
    assert description == {
        "Label": "org.mlpeft.worker",
        "ProgramArguments": ["/venv/bin/python", "-m", "worker.cli"],
        "EnvironmentVariables": {"MLPEFT_DATA_DIR": "/data"},
        "RunAtLoad": True,
        "KeepAlive": True,
        "ThrottleInterval": 10,
        "ProcessType": "Interactive",
        "WorkingDirectory": str(tmp_path),
        "StandardOutPath": str(agent.log),
        "StandardErrorPath": str(agent.log),
    }


def test_installing_writes_the_description_and_loads_it(agent, tmp_path):
    system = Launchd()
    assert launchd.install(agent, 501, system).code == 0
    path = tmp_path / "Library" / "LaunchAgents" / "org.mlpeft.worker.plist"
    assert path.read_bytes() == agent.plist()
    assert system.commands[-1] == ["launchctl", "bootstrap", "gui/501", str(path)]
    assert agent.log.parent.is_dir()


def test_installing_again_replaces_what_is_loaded(agent):
    system = Launchd(loaded=True)
    launchd.install(agent, 501, system)
    assert system.words == ["print", "bootout", "bootstrap"]
    assert system.commands[1][-1] == "gui/501/org.mlpeft.worker"


def test_launchds_error_is_returned(agent):
    answer = launchd.install(agent, 501, Launchd(refuses=True))
    assert answer.code == 5
    assert "Input/output error" in answer.text


def test_uninstalling_ends_the_service_and_removes_its_description(agent):
    system = Launchd()
    launchd.install(agent, 501, system)
    assert launchd.uninstall(agent.path, agent.label, 501, system) == Answer(0, "")
    assert not agent.path.exists()
    assert not system.loaded
    assert launchd.uninstall(agent.path, agent.label, 501, system) is None

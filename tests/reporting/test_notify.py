"""People are told how a run ended, by a real server and real commands."""

import asyncio
import json
import logging
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from mlpeft.config import NotifySection, RunConfig
from mlpeft.config.notify import notify_override, without_targets
from mlpeft.errors import ConfigError, MlpeftError
from mlpeft.reporting import notify
from mlpeft.reporting.notify import Notice, send
from mlpeft.runtime.coordinator.driver import CoordinatorDriver
from mlpeft.training import loop
from mlpeft.training.loop import train
from mlpeft.transport.rpc.join_codec import JoinRequest
from tests.runtime.toy import CONFIG, VERSIONS

NOTICE = Notice.of("digits", "done", "it is done", "/runs/digits")
WORD = "T0KEN-5ecret"


@pytest.fixture
def server():
    """A server that keeps what it is told; what it answers is its `answer`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            size = int(self.headers["Content-Length"])
            self.server.told.append((self.path, json.loads(self.rfile.read(size))))
            if self.server.answer is None:
                self.server.ended.wait(30)
                return
            self.send_response(self.server.answer)
            self.send_header("Location", self.server.elsewhere)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    made = HTTPServer(("127.0.0.1", 0), Handler)
    made.told, made.answer, made.elsewhere = [], 200, "/elsewhere"
    made.ended = threading.Event()
    made.url = f"http://127.0.0.1:{made.server_port}/{WORD}"
    serving = threading.Thread(target=made.serve_forever, args=(0.01,))
    serving.start()
    yield made
    made.ended.set()
    made.shutdown()
    serving.join()
    made.server_close()


def sent(caplog, **keys) -> str:
    """Send the notice; what the log says of it."""
    caplog.set_level(logging.DEBUG)
    thread = send(NotifySection(**keys), NOTICE)
    thread.join(30)
    assert not thread.is_alive()
    assert WORD not in caplog.text
    return caplog.text


def test_a_webhook_gets_the_text_and_all_that_is_known(server, caplog):
    assert sent(caplog, webhook=server.url) == ""
    ((path, told),) = server.told
    assert path == f"/{WORD}"
    assert told["text"] == "it is done"
    assert (told["run"], told["reason"]) == ("digits", "done")


def test_a_secret_url_comes_from_the_environment(server, caplog, monkeypatch):
    monkeypatch.setenv("HOOK", server.url)
    assert sent(caplog, webhook="env:HOOK") == ""
    assert len(server.told) == 1
    monkeypatch.setenv("HOOK", "")
    assert "the variable HOOK holds no URL" in sent(caplog, webhook="env:HOOK")


@pytest.mark.parametrize("code", [404, 500, 307])
def test_a_server_that_refuses_is_a_line_in_the_log(server, caplog, code):
    """What was meant for one server does not follow it to another."""
    server.answer = code
    assert f"notify.webhook: the server answered {code}" in sent(
        caplog, webhook=server.url
    )
    assert len(server.told) == 1


def test_a_server_that_never_answers_delays_nothing_for_long(
    server, caplog, monkeypatch
):
    monkeypatch.setattr(notify, "PATIENCE_S", 0.1)
    server.answer = None
    assert "notify.webhook" in sent(caplog, webhook=server.url)


def test_nobody_at_the_address_is_a_line_in_the_log(caplog):
    text = sent(caplog, webhook=f"http://127.0.0.1:1/{WORD}")
    assert "notify.webhook: not sent (URLError)" in text


def test_a_command_gets_the_text_and_the_variables(tmp_path, caplog):
    file = tmp_path / "told"
    command = f'(cat; echo "$MLPEFT_RUN $MLPEFT_REASON $MLPEFT_RUN_DIR") > {file}'
    assert sent(caplog, command=command) == ""
    assert file.read_text() == "it is done\ndigits done /runs/digits\n"


def test_a_command_that_fails_or_hangs_is_told_without_its_words(
    caplog, monkeypatch, tmp_path
):
    failing = f"echo {WORD}; exit 3"
    assert "notify.command: it ended with exit code 3" in sent(caplog, command=failing)
    monkeypatch.setattr(notify, "PATIENCE_S", 0.2)
    hanging = f"sleep 30; touch {tmp_path}/{WORD}"
    began = time.monotonic()
    text = sent(caplog, command=hanging)
    assert "notify.command" in text
    assert time.monotonic() - began < 20


def test_one_target_that_fails_keeps_no_other_from_being_told(server, caplog):
    sent(caplog, command="exit 1", webhook=server.url)
    assert len(server.told) == 1


@pytest.mark.skipif(sys.platform == "darwin", reason="it would show one")
def test_elsewhere_than_on_a_mac_the_screen_is_refused_in_words(caplog):
    assert "only a Mac shows notifications" in sent(caplog, macos=True)


def test_a_mac_is_told_by_a_script_whose_texts_are_no_script(monkeypatch):
    """Nothing here has run on a Mac."""
    ran = []
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(notify, "_run", lambda command, *_: ran.append(command))
    bad = Notice.of('a"b', "failed", 'x" & do shell script "rm', "/runs/a")
    send(NotifySection(macos=True), bad).join(10)
    ((program, option, script, *texts),) = ran
    assert (program, option) == ("/usr/bin/osascript", "-e")
    assert "rm" not in script
    assert texts == ['mlpeft: a"b', 'x" & do shell script "rm']


def test_without_targets_nothing_starts():
    assert send(NotifySection(), NOTICE) is None


@pytest.mark.parametrize(
    ("target", "section"),
    [
        ("https://hook.example/x?a='b'", {"webhook": "https://hook.example/x?a='b'"}),
        ("env:HOOK", {"webhook": "env:HOOK"}),
        ("macos", {"macos": True}),
        ("say 'it: is' done # now", {"command": "say 'it: is' done # now"}),
    ],
)
def test_the_option_says_what_the_keys_say(target, section):
    config = RunConfig.from_dict({}, [notify_override(target)])
    assert config.notify == NotifySection(**section)


def test_the_command_that_a_run_remembers_names_no_target():
    """sessions.jsonl is in the run's folder, and reports show it."""
    hook = f"https://hook/{WORD}"
    told = ["--notify", hook, f"--notify={hook}", "--set", f"notify.webhook={hook}"]
    told += [f"--set=notify.command=curl {hook}"]
    kept = ["--config", "C", "--set", "run.seed=1", "--set=run.name=a", "--resume"]
    mixed = [*kept[:2], *told, *kept[2:]]
    assert without_targets(mixed) == kept


@pytest.mark.parametrize("webhook", ["hook.example", "ftp://a", "https://", "env:a b"])
def test_a_webhook_that_is_none_is_refused_with_what_one_is(webhook):
    with pytest.raises(ConfigError, match=r"notify\.webhook: .*expected http"):
        RunConfig.from_dict({"notify": {"webhook": webhook}})


def tiny(folder, **meta_learning) -> RunConfig:
    return RunConfig.from_dict(
        {
            "run": {"name": "tiny"},
            "meta_learning": {"num_meta_iterations": 2, "num_inner_steps": 1}
            | meta_learning,
            "task_distribution": {"num_train_tasks": 2, "num_val_tasks": 2},
            "model": {"hidden_dim": 4},
            "evaluation": {"num_val_episodes": 2, "steps": [0, 1]},
            "compute": {"strategy": "loop"},
            "paths": {"checkpoint_dir": str(folder)},
            "notify": {"command": f"cat >> {folder}/told; echo >> {folder}/ended"},
        }
    )


def wait_for(path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def test_a_run_tells_its_end_once_and_a_finished_one_says_nothing_again(
    tmp_path, monkeypatch
):
    train(tiny(tmp_path))
    wait_for(tmp_path / "ended")
    assert "told" not in (tmp_path / "tiny" / "config.yaml").read_text()
    (line,) = (tmp_path / "told").read_text().splitlines()
    assert line.startswith("mlpeft run tiny is done after 2 of 2 meta-iterations: best")
    sent_again = []
    monkeypatch.setattr(loop, "send", lambda *_: sent_again.append(1))
    train(tiny(tmp_path), resume=True)
    assert not sent_again


def test_a_run_tells_its_failure(tmp_path):
    with pytest.raises(MlpeftError):
        train(tiny(tmp_path, inner_lr=1e30, num_inner_steps=4))
    wait_for(tmp_path / "ended")
    assert "mlpeft run tiny failed after" in (tmp_path / "told").read_text()


def test_workers_are_not_told_whom_the_user_wants_told():
    """What a worker gets is the coordinator's answer to its join."""

    async def told() -> str:
        config = CONFIG.model_copy(
            update={"notify": NotifySection(webhook=f"https://hook/{WORD}")}
        )
        driver = CoordinatorDriver(config, "view", VERSIONS)
        own = (VERSIONS.protocol, VERSIONS.mlpeft, VERSIONS.mlx)
        request = JoinRequest(*own, "ada", "process")
        return driver.joins.join(request, "machine").config_yaml

    text = asyncio.run(told())
    assert "num_meta_iterations" in text
    assert WORD not in text

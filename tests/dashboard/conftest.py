"""A served dashboard, and a real Chromium to look at it."""

import http.client
import json
import shutil
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from mlpeft.dashboard.log_tail import LogTail
from mlpeft.dashboard.monitor import Monitor
from mlpeft.dashboard.run_folder import RunFolder
from tests.dashboard.staged import lab, write_run

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class Served:
    """A dashboard that can be stopped, started again at its port, and called."""

    def __init__(self, monitor, access, authority=None):
        self._make = lambda: DashboardServer(monitor, access, authority)
        self.access = access
        self._server = self._make()
        self.url = self._server.start("127.0.0.1", 0)

    def restart(self):
        self.stop()
        self.start()

    def stop(self):
        self._server.close()

    def start(self):
        self._server = self._make()
        self._server.start("127.0.0.1", urlsplit(self.url).port)

    def call(self, path, method="GET", body=None, context=None, **headers):
        """Status, headers and text of an answer."""
        parts = urlsplit(self.url)
        if parts.scheme == "https":
            call = http.client.HTTPSConnection(
                parts.netloc, timeout=10, context=context
            )
        else:
            call = http.client.HTTPConnection(parts.netloc, timeout=10)
        text = None if body is None else json.dumps(body)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        call.request(method, path, text, names)
        answer = call.getresponse()
        content = answer.read().decode()
        call.close()
        return answer.status, dict(answer.getheaders()), content


pytest.importorskip("uvicorn", reason="needs the extra dashboard")
from mlpeft.dashboard.web import broadcast  # noqa: E402
from mlpeft.dashboard.web.access import Access  # noqa: E402
from mlpeft.dashboard.web.serve import DashboardServer  # noqa: E402


@pytest.fixture
def source():
    return lab()


@pytest.fixture
def run_dir(tmp_path):
    return write_run(tmp_path / "intents", 412, 50)


@pytest.fixture
def log_file(tmp_path):
    path = tmp_path / "intents.jsonl"
    line = {"time": 1.0, "level": "INFO", "logger": "mlpeft.run", "text": "began"}
    path.write_text(json.dumps(line) + "\n")
    return path


@contextmanager
def serving(monitor, access, authority=None):
    served = Served(monitor, access, authority)
    try:
        yield served
    finally:
        served.stop()


@pytest.fixture
def served(source, run_dir, log_file, monkeypatch):
    monkeypatch.setattr(broadcast, "LOOK_S", 0.15)
    monkeypatch.setattr(broadcast, "RETRY_MS", 100)
    monitor = Monitor(source, [RunFolder(run_dir)], LogTail(log_file))
    with serving(monitor, Access(open_to_all=True, local=True)) as served:
        yield served


@pytest.fixture(scope="module")
def browser():
    """Of one module: its driver keeps an event loop in this thread while it runs."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if CHROMIUM is None:
        pytest.skip("needs chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, served):
    """The page, open; errors and what the policy blocked fail the test."""
    problems = []
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(8000)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda line: problems.extend(_blocked(line)))
    page.goto(served.url)
    page.locator("#link.live").wait_for()
    yield page
    page.close()
    assert problems == []


def _blocked(line):
    if line.type == "error" and "Content Security" in line.text:
        yield line.text

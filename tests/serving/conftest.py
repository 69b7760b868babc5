"""A server of classifiers over a tiny encoder, and a program that calls it."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
from mlpeft.serving.limits import Limits
from mlpeft.serving.server import ClassifierServer
from tests.adapters.runs import EXAMPLES, write_base

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TEACHING = {
    "id": "tickets",
    "examples": [{"text": text, "label": label} for text, label in EXAMPLES],
}


class Caller:
    """Calls a server at a URL."""

    def __init__(self, server: ClassifierServer, url: str) -> None:
        self.server = server
        self.url = url

    def connect(self, context: Any = None) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        if parts.scheme == "https":
            return http.client.HTTPSConnection(
                parts.netloc, timeout=20, context=context
            )
        return http.client.HTTPConnection(parts.netloc, timeout=20)

    def call(
        self, method: str, path: str, body: Any = None, context: Any = None, **more: str
    ) -> tuple[int, dict[str, str], str]:
        """Status, headers and text of an answer."""
        connection = self.connect(context)
        headers = {"content-type": "application/json"} | {
            name.replace("_", "-"): value for name, value in more.items()
        }
        text = body if isinstance(body, str | bytes | None) else json.dumps(body)
        connection.request(method, path, text, headers)
        answer = connection.getresponse()
        content = answer.read().decode()
        connection.close()
        return answer.status, dict(answer.getheaders()), content

    def json(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """Status and JSON of an answer."""
        status, _, text = self.call(method, path, body, **more)
        return status, json.loads(text) if text else None

    def teach(self, **changes: Any) -> dict[str, Any]:
        """An adapter that was just made."""
        status, made = self.json("POST", "/adapters", TEACHING | changes)
        assert status == 201, made
        return dict(made)

    def predict(self, *texts: str, **more: Any) -> list[dict[str, Any]]:
        status, answer = self.json("POST", "/predict", {"texts": list(texts)} | more)
        assert status == 200, answer
        return list(answer["predictions"])


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    return write_base(tmp_path_factory.mktemp("serving") / "base")


@pytest.fixture
def serving(base) -> Iterator[Callable[..., Caller]]:
    """Starts servers; they are closed at the end."""
    servers = []

    def start(
        limits: Limits | None = None, folders: Any = None, **options: Any
    ) -> Caller:
        own = {key: options.pop(key) for key in ("store", "start") if key in options}
        server = ClassifierServer(limits or Limits(), grace_s=10, base=str(base), **own)
        servers.append(server)
        for id_, folder in (folders or {}).items():
            server.library.load(folder, id_)
        server.library.load_store()
        return Caller(server, server.start("127.0.0.1", 0, **options))

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def served(serving) -> Caller:
    return serving()

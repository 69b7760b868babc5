"""A file server that misbehaves on request, and small Omniglot archives."""

from __future__ import annotations

import io
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest


class Server:
    """Serves `files` by path; the next request is answered as `faults` says.

    Faults: a number drops the connection after so many bytes of the body; "no ranges"
    sends the whole file whatever was asked for; "other range" sends from byte 1 on;
    "no length" does not say how long the file is; 404, 500 ... as ("status", code).

    Attributes:
        requests: (path, Range header or None), as they came.
        user_agents: The User-Agent header of each.
    """

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.faults: list = []
        self.requests: list[tuple[str, str | None]] = []
        self.user_agents: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            def log_message(self, *args):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    def url(self, path):
        host, port = self._http.server_address[:2]
        return f"http://{host}:{port}/{path}"

    def close(self):
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(10)

    def answer(self, handler):
        path = handler.path.lstrip("/")
        asked = handler.headers.get("Range")
        self.requests.append((path, asked))
        self.user_agents.append(handler.headers.get("User-Agent"))
        fault = self.faults.pop(0) if self.faults else None
        body = self.files[path]
        if isinstance(fault, tuple):
            handler.send_error(fault[1])
            return
        size, start = len(body), 0
        if asked and fault != "no ranges":
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= size:
                handler.send_response(416)
                handler.send_header("Content-Range", f"bytes */{size}")
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
            start = 1 if fault == "other range" else start
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        else:
            handler.send_response(200)
        body = body[start:]
        if fault != "no length":
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[:fault] if isinstance(fault, int) else body)
        handler.close_connection = True


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


def make_archive(name, alphabets, drawings=20, side=105):
    """A zip as Omniglot's: black strokes on white, one bit a pixel.

    Every drawing is a filled square whose place and size tell which one it is.
    """
    from PIL import Image

    content, number = io.BytesIO(), 0
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("__MACOSX/._rubbish", b"\0")
        # Not in sorting order: the order in the zip must not matter.
        for alphabet, characters in reversed(alphabets.items()):
            for character in range(characters, 0, -1):
                number += 1
                for drawing in range(drawings, 0, -1):
                    pixels = np.full((side, side), 255, np.uint8)
                    pixels[4 * drawing : 4 * drawing + 8, :][:, : 10 * character] = 0
                    png = io.BytesIO()
                    Image.fromarray(pixels).convert("1").save(png, "PNG")
                    made.writestr(
                        f"{name}/{alphabet}/character{character:02}/"
                        f"{number:04}_{drawing:02}.png",
                        png.getvalue(),
                    )
    return content.getvalue()


@pytest.fixture
def archive():
    """Makes an archive, see `make_archive`."""
    pytest.importorskip("PIL")
    return make_archive


@pytest.fixture(scope="session")
def archives():
    """Bytes of the two archives, by name."""
    pytest.importorskip("PIL")
    return {
        "images_background": make_archive(
            "images_background", {f"Alphabet_{n}": 2 for n in "abcdef"}, drawings=6
        ),
        "images_evaluation": make_archive(
            "images_evaluation", {"Zeta": 3, "Eta": 2}, drawings=6
        ),
    }

"""`mlpeft-worker cache` tells what there is, and clears it."""

from __future__ import annotations

import hashlib
import json

from typer.testing import CliRunner

from mlpeft.transport.blobs.cache import BlobCache
from worker.cli import app

CONTENT = b"x" * 3000
NAME = hashlib.sha256(CONTENT).hexdigest()


def invoke(folder, *words):
    result = CliRunner().invoke(app, ["cache", "--cache-dir", str(folder), *words])
    assert result.exit_code == 0, result.output
    return result.output


def filled(folder) -> BlobCache:
    cache = BlobCache(folder, 10**6)
    with cache.receive(NAME) as incoming:
        incoming.write(CONTENT)
        incoming.finish(NAME)
    cache.link_folder("asset", {"own.jsonl": folder / "blobs" / NAME})
    return cache


def test_the_cache_is_shown_and_cleared(tmp_path):
    filled(tmp_path)
    shown = invoke(tmp_path, "--cache-gb", "1")
    assert f"{tmp_path}: 1 file, 3.0 kB of 1.0 GB" in shown
    assert f"{NAME[:12]}    3.0 kB  own.jsonl, used today" in shown
    assert "Removed 3.0 kB" in invoke(tmp_path, "--clear")
    assert "0 files, 0 B" in invoke(tmp_path)


def test_scripts_are_told_in_json(tmp_path):
    cache = filled(tmp_path)
    cache.claim({NAME: len(CONTENT)})
    told = json.loads(invoke(tmp_path, "--clear", "--json"))
    cache.release()
    assert told["freed_bytes"] == 0
    assert told["files"][0] | {"used_at": 0} == {
        "sha256": NAME,
        "name": "own.jsonl",
        "size": 3000,
        "used_at": 0,
        "whole": True,
        "in_use": True,
    }

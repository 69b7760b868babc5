"""Downloads against a server that breaks off, ignores Range, or has other bytes."""

from __future__ import annotations

import hashlib

import pytest

from mlpeft.datasets.download import MAX_FAILURES, Remote, download
from mlpeft.errors import DataError

CONTENT = bytes(range(256)) * 2000


@pytest.fixture
def remote(server):
    server.files["file.bin"] = CONTENT
    digest = hashlib.sha256(CONTENT).hexdigest()
    return Remote(server.url("file.bin"), digest)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "folder" / "file.bin"


def part(target):
    return target.with_name("file.bin.part")


def fetch(remote, target, **kwargs):
    pauses = []
    download(remote, target, pause=pauses.append, **kwargs)
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["file.bin"]
    return pauses


def test_a_file_arrives_whole(remote, target, server):
    assert fetch(remote, target) == []
    assert server.requests == [("file.bin", None)]
    assert server.user_agents == ["mlpeft"]


def test_progress_is_reported_to_the_end(remote, target):
    reports = []
    fetch(remote, target, progress=lambda done, total: reports.append((done, total)))
    assert reports[-1] == (len(CONTENT), len(CONTENT))
    assert reports == sorted(reports)


def test_a_dropped_connection_is_resumed(remote, target, server):
    server.faults = [100_000, 50_000]
    pauses = fetch(remote, target)
    assert server.requests == [
        ("file.bin", None),
        ("file.bin", "bytes=100000-"),
        ("file.bin", "bytes=150000-"),
    ]
    assert pauses == [1.0, 1.0]


def test_a_later_call_resumes_from_the_partial_file(remote, target, server):
    target.parent.mkdir()
    part(target).write_bytes(CONTENT[:1234])
    fetch(remote, target)
    assert server.requests == [("file.bin", "bytes=1234-")]


def test_a_server_that_ignores_ranges_sends_it_all_again(remote, target, server):
    server.faults = [100_000, "no ranges"]
    fetch(remote, target)
    assert len(server.requests) == 2


def test_a_server_that_sends_another_range_is_asked_for_the_whole_file(
    remote, target, server
):
    server.faults = [100_000, "other range"]
    fetch(remote, target)
    assert server.requests[-1] == ("file.bin", None)


def test_a_server_need_not_send_the_length(remote, target, server):
    server.faults = ["no length"]
    fetch(remote, target)
    assert target.read_bytes() == CONTENT


def test_a_complete_partial_file_is_only_checked(remote, target, server):
    target.parent.mkdir()
    part(target).write_bytes(CONTENT)
    fetch(remote, target)
    assert server.requests == [("file.bin", f"bytes={len(CONTENT)}-")]


def test_a_partial_file_that_is_too_long_is_deleted(remote, target, server):
    target.parent.mkdir()
    part(target).write_bytes(CONTENT + b"more")
    fetch(remote, target)
    assert server.requests[-1] == ("file.bin", None)


def test_the_beginning_of_another_version_is_downloaded_again(remote, target, server):
    target.parent.mkdir()
    part(target).write_bytes(b"another version")
    fetch(remote, target)
    assert [asked for _, asked in server.requests] == ["bytes=15-", None]


def test_wrong_bytes_are_refused_and_not_kept(remote, target, server):
    server.files["file.bin"] = CONTENT[:-1] + b"!"
    with pytest.raises(DataError, match="expected " + remote.digest):
        download(remote, target)
    assert list(target.parent.iterdir()) == []


def test_a_file_cut_short_by_the_server_is_refused(remote, target, server):
    server.files["file.bin"] = CONTENT[:1000]
    with pytest.raises(DataError, match="damaged in transit"):
        download(remote, target)
    assert not target.exists()


def test_an_old_file_stays_until_the_new_one_is_whole(remote, target, server):
    target.parent.mkdir()
    target.write_bytes(b"old")
    server.files["file.bin"] = b"wrong"
    with pytest.raises(DataError):
        download(remote, target)
    assert target.read_bytes() == b"old"


def test_after_many_failures_it_gives_up_and_keeps_the_partial_file(
    remote, target, server
):
    server.faults = [1000] + [("status", 503)] * MAX_FAILURES
    pauses = []
    with pytest.raises(DataError, match="1000 bytes are kept in") as caught:
        download(remote, target, pause=pauses.append)
    assert "Service Unavailable" in str(caught.value)
    assert part(target).read_bytes() == CONTENT[:1000]
    assert pauses == [1.0, 2.0, 4.0, 8.0]
    fetch(remote, target)
    assert server.requests[-1] == ("file.bin", "bytes=1000-")


def test_any_number_of_breaks_is_survived_while_bytes_arrive(remote, target, server):
    server.faults = [10_000] * (3 * MAX_FAILURES)
    assert set(fetch(remote, target)) == {1.0}


def test_a_missing_file_is_reported_at_once(remote, target, server):
    server.faults = [("status", 404)]
    with pytest.raises(DataError, match="the server answered 404 Not Found"):
        download(remote, target, pause=pytest.fail)


def test_without_a_network_the_message_says_what_to_do(target, server):
    """A port on which nobody listens any more."""
    url = server.url("file.bin")
    server.close()
    with pytest.raises(DataError, match="Is there a network") as caught:
        download(Remote(url, "00"), target, pause=pytest.fail)
    assert url in str(caught.value)
    assert "import it" in str(caught.value)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/file", "nonsense"])
def test_only_http_addresses_are_fetched(target, url):
    with pytest.raises(DataError, match="expected an http or https address"):
        download(Remote(url, "00"), target)

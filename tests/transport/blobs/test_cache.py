"""The cache: whole blobs only, the least recently used go, nobody's own is taken."""

import errno
import hashlib
import os
import subprocess
import sys

import pytest

from mlpeft.errors import DataError
from mlpeft.transport.blobs import cache as module
from mlpeft.transport.blobs.cache import BlobCache, CacheFullError


def digest(content):
    return hashlib.sha256(content).hexdigest()


def put(cache, content, *, used_ns=None):
    name = digest(content)
    with cache.receive(name) as incoming:
        incoming.resume(len(content))
        incoming.write(content)
        path = incoming.finish(name)
    if used_ns is not None:
        os.utime(path, ns=(used_ns, path.stat().st_mtime_ns))
    return name


@pytest.fixture
def cache(tmp_path):
    made = BlobCache(tmp_path / "cache", limit_bytes=100)
    yield made
    made.release()


def names(cache):
    return {path.name for path in (cache.folder / "blobs").iterdir()}


def test_a_blob_is_there_once_it_is_whole(cache):
    content = b"x" * 30
    name = digest(content)
    with cache.receive(name) as incoming:
        incoming.resume(30)
        incoming.write(content[:20])
    assert cache.get(name) is None
    with cache.receive(name) as incoming:
        assert incoming.resume(30) == 20
        incoming.write(content[20:])
        assert incoming.finish(name) is not None
    assert cache.get(name).read_bytes() == content
    assert names(cache) == {name}


def test_other_bytes_are_not_kept(cache):
    name = digest(b"right")
    with cache.receive(name) as incoming:
        incoming.write(b"wrong")
        assert incoming.finish(name) is None
        assert incoming.size_bytes == 0
    assert cache.get(name) is None
    with cache.receive(name) as incoming:
        assert incoming.resume(5) == 0


def test_a_part_that_is_too_long_is_dropped(cache):
    name = digest(b"right")
    with cache.receive(name) as incoming:
        incoming.write(b"much too long")
    with cache.receive(name) as incoming:
        assert incoming.resume(5) == 0


def test_a_blob_that_was_damaged_on_disk_goes(cache):
    name = put(cache, b"right")
    path = cache.get(name)
    path.write_bytes(b"wrong")
    assert cache.get(name) is None
    assert names(cache) == set()


def test_only_one_process_receives_a_blob(cache):
    name = digest(b"x")
    with (
        cache.receive(name) as first,
        BlobCache(cache.folder, 100).receive(name) as two,
    ):
        assert first is not None
        assert two is None


def test_who_waited_for_a_part_does_not_write_into_the_blob(cache, monkeypatch):
    """The lock on a part is had after its writer renamed it: that is another's file."""
    content = b"whole"
    name = digest(content)
    taken = module.fcntl.flock

    def late(file, how):
        monkeypatch.setattr(module.fcntl, "flock", taken)
        put_aside = cache.folder / "blobs" / name
        (cache.folder / "blobs" / (name + ".part")).rename(put_aside)
        put_aside.write_bytes(content)
        taken(file, how)

    monkeypatch.setattr(module.fcntl, "flock", late)
    with cache.receive(name) as incoming:
        assert incoming is None
    assert cache.get(name).read_bytes() == content


def test_a_blob_that_came_in_between_is_not_received_again(cache):
    """Another process finished it after this one had looked."""
    name = put(cache, b"whole")
    with cache.receive(name) as incoming:
        assert incoming is None
    assert names(cache) == {name}


def test_what_was_used_least_recently_makes_room(cache):
    old = put(cache, b"a" * 40, used_ns=2)
    oldest = put(cache, b"b" * 40, used_ns=1)
    cache.claim({digest(b"new"): 50})
    assert names(cache) == {old}
    assert oldest not in names(cache)


def test_a_use_counts(cache):
    used = put(cache, b"a" * 40, used_ns=1)
    unused = put(cache, b"b" * 40, used_ns=2)
    assert cache.get(used) is not None
    cache.claim({digest(b"new"): 50})
    assert names(cache) == {used}
    assert unused not in names(cache)


def test_what_this_process_claims_stays(cache):
    kept = put(cache, b"a" * 60, used_ns=1)
    with pytest.raises(CacheFullError, match="--cache-gb"):
        cache.claim({kept: 60, digest(b"new"): 50})
    assert kept in names(cache)


def test_what_another_living_process_claims_stays_until_it_ends(cache):
    """A killed worker's claim ends with it; nobody has to clear up."""
    kept = put(cache, b"a" * 60, used_ns=1)
    program = (
        "import sys, pathlib; from mlpeft.transport.blobs.cache import BlobCache;"
        "cache = BlobCache(pathlib.Path(sys.argv[1]), 100);"
        "cache.claim({sys.argv[2]: 60}); print('claimed', flush=True);"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(cache.folder), kept],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout.readline() == "claimed\n"
        with pytest.raises(CacheFullError):
            cache.claim({digest(b"new"): 50})
        assert kept in names(cache)
        other.kill()
        other.wait(timeout=60)
    cache.claim({digest(b"new"): 50})
    assert kept not in names(cache)


def test_what_is_there_already_needs_no_room(cache):
    there = put(cache, b"a" * 90)
    cache.claim({there: 90})
    with cache.receive(digest(b"b" * 10)) as incoming:
        incoming.write(b"b" * 6)
    cache.claim({there: 90, digest(b"b" * 10): 10})


def test_a_full_disk_is_said_before_the_transfer(cache, monkeypatch):
    usage = module.shutil.disk_usage(cache.folder)._replace(free=10)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(CacheFullError, match="MLPEFT_CACHE_DIR"):
        cache.claim({digest(b"new"): 50})


def test_a_disk_that_fills_up_in_between_is_said_as_well(cache):
    full = OSError(errno.ENOSPC, "No space left on device")
    with (
        pytest.raises(CacheFullError, match="Free some space"),
        cache.receive(digest(b"x")),
    ):
        raise full


def test_a_folder_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="set MLPEFT_CACHE_DIR to another folder"):
        BlobCache(tmp_path / "file", 100)


def test_a_folder_of_links_gives_blobs_their_names(cache, tmp_path):
    blob = cache.get(put(cache, b"{}"))
    own = tmp_path / "own.json"
    own.write_text("own")
    files = {"config.json": blob, "1_Pooling/config.json": own}
    folder = cache.link_folder("f" * 64, files)
    assert (folder / "config.json").read_text() == "{}"
    assert (folder / "1_Pooling" / "config.json").read_text() == "own"
    assert cache.link_folder("f" * 64, files | {"config.json": own}) == folder
    assert (folder / "config.json").read_text() == "own"
    assert sorted(path.name for path in folder.iterdir()) == [
        "1_Pooling",
        "config.json",
    ]


def test_what_is_held_is_told_by_name_and_last_use(cache):
    old = put(cache, b"a" * 10, used_ns=10**18)
    new = put(cache, b"b" * 20, used_ns=15 * 10**17)
    cache.link_folder("asset", {"intents/own.jsonl": cache.folder / "blobs" / old})
    with cache.receive(digest(b"c" * 5)) as incoming:
        incoming.resume(5)
        incoming.write(b"cc")
    cache.claim({new: 20})
    part, first, last = cache.list_blobs()
    assert (part.size, part.whole) == (2, False)
    assert (first.sha256, first.used_at, first.in_use) == (new, 1.5e9, True)
    assert (last.sha256, last.name, last.size) == (old, "own.jsonl", 10)
    assert last.whole
    assert not last.in_use


def test_clearing_leaves_what_a_living_process_uses(cache):
    gone = put(cache, b"a" * 10)
    kept = put(cache, b"b" * 20)
    for name in (gone, kept):
        cache.link_folder(name, {"f": cache.folder / "blobs" / name})
    cache.claim({kept: 20})
    assert cache.clear() == 10
    assert names(cache) == {kept}
    assert [path.name for path in (cache.folder / "folders").iterdir()] == [kept]
    cache.release()
    assert cache.clear() == 20
    assert not names(cache)

"""What a dashboard answers over HTTP, and to whom."""

import asyncio
import json
import re
import ssl

import pytest

from mlpeft.dashboard.monitor import Monitor
from mlpeft.dashboard.run_folder import RunFolder
from mlpeft.dashboard.web import broadcast
from mlpeft.dashboard.web.access import Access
from mlpeft.transport.security import certificates
from mlpeft.transport.security.authority import Authority
from mlpeft.transport.security.registry import OPERATOR, WORKER
from tests.dashboard.conftest import serving
from tests.dashboard.staged import StagedCluster, overview, worker

PAUSE = {"action": "pause"}
GUESSED = {"x_mlpeft_token": "guessed"}


def steer(served, **headers):
    ours = {
        "origin": served.url,
        "x_mlpeft_token": served.access.token,
        "content_type": "application/json",
    }
    return served.call("/control", "POST", PAUSE, **(ours | headers))


def test_every_answer_forbids_scripts_and_frames_of_others(served):
    for path in ("/", "/state.json", "/static/main.js", "/nothing"):
        _, headers, _ = served.call(path)
        policy = headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_the_page_has_no_inline_script_style_or_foreign_address(served):
    _, _, page = served.call("/")
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert not re.search(r"\son\w+=|\sstyle=|<style", page)
    assert not re.search(r"https?://", page)


def test_a_request_from_another_site_is_refused(served, source):
    assert steer(served, origin="https://evil.example")[0] == 403
    assert steer(served, **GUESSED)[0] == 403
    assert steer(served, origin="")[0] == 403
    assert source.asked == []
    assert steer(served)[0] == 200
    assert source.asked == [("pause", "", "a user of the dashboard")]


def test_a_name_that_another_site_pointed_here_is_refused(served):
    status, _, text = served.call("/state.json", host="evil.example")
    assert status == 403
    assert "evil.example" in text


def test_a_chart_is_svg_and_bad_questions_have_a_status(served):
    status, headers, text = served.call("/chart/loss.svg?width=400&log=1")
    assert (status, headers["content-type"]) == (200, "image/svg+xml")
    assert text.startswith("<svg")
    assert served.call("/chart/nothing.svg")[0] == 404
    assert served.call("/chart/loss.svg?width=wide")[0] == 400
    assert served.call("/chart/loss.svg?from=5&to=2")[0] == 400
    assert served.call("/static/..%2Fapp.py")[0] == 404
    assert served.call("/control", "GET")[0] == 405


def test_an_unknown_action_is_refused_in_words(served, source):
    status, _, text = served.call(
        "/control",
        "POST",
        {"action": "explode"},
        origin=served.url,
        x_mlpeft_token=served.access.token,
    )
    assert (status, source.asked) == (400, [])
    assert "not an action" in text


def test_a_dashboard_of_folders_has_nothing_to_steer(run_dir):
    monitor = Monitor(None, [RunFolder(run_dir)])
    with serving(monitor, Access(open_to_all=True, local=True)) as served:
        assert 'content="no"' in served.call("/")[2]
        assert steer(served)[0] == 409


@pytest.fixture
def authority(tmp_path):
    return Authority.create(tmp_path / "ca", ["localhost", "127.0.0.1"])


def issue(authority, name, role, folder):
    """A certificate and its key, in one file."""
    key = certificates.new_key()
    secret = authority.new_token("localhost:1", role=role).secret
    request = certificates.new_request(key, name)
    path = folder / f"{name}.pem"
    path.write_bytes(key + authority.enrol(secret, name, request))
    return path


def trusting(authority, certificate=None):
    context = ssl.create_default_context(cadata=authority.ca_certificate.decode())
    context.check_hostname = False
    if certificate is not None:
        context.load_cert_chain(certificate)
    return context


def test_off_loopback_a_login_link_works_once_and_others_only_look(
    source, run_dir, authority
):
    links = []
    access = Access(
        open_to_all=False, local=False, authority=authority, tell=links.append
    )
    monitor = Monitor(source, [RunFolder(run_dir)])
    with serving(monitor, access, authority) as served:
        access.offer_link()
        anybody = trusting(authority)
        assert served.call("/state.json", context=anybody)[0] == 200
        assert 'mlpeft-token" content=""' in served.call("/", context=anybody)[2]
        assert steer(served, context=anybody)[0] == 403
        status, headers, _ = served.call(links[0], context=anybody)
        cookie = headers["set-cookie"].partition(";")[0]
        assert status == 303
        assert {"HttpOnly", "Secure", "SameSite=strict"} <= {
            part.strip() for part in headers["set-cookie"].split(";")
        }
        assert served.call(links[0], context=anybody)[0] == 403
        assert len(links) == 2
        assert links[0] != links[1]
        assert steer(served, context=anybody, cookie=cookie)[0] == 200


def test_off_loopback_an_operators_certificate_steers_and_a_workers_does_not(
    source, authority, tmp_path
):
    access = Access(open_to_all=False, local=False, authority=authority)
    with serving(Monitor(source), access, authority) as served:
        worker = trusting(authority, issue(authority, "ada", WORKER, tmp_path))
        operator = trusting(authority, issue(authority, "grace", OPERATOR, tmp_path))
        assert steer(served, context=worker)[0] == 403
        assert steer(served, context=operator)[0] == 200
        assert source.asked == [("pause", "", "grace")]
        authority.revoke("grace")
        assert steer(served, context=operator)[0] == 403


def test_a_worker_that_leaves_before_the_next_look_leaves_the_page_as_well(monkeypatch):
    """The viewer is told: it got the worker with the whole picture."""
    monkeypatch.setattr(broadcast, "LOOK_S", 0.2)  # after the picture
    source = StagedCluster(overview([worker("mac-01"), worker("mac-02")]))

    async def watch():
        events = broadcast.Broadcast(Monitor(source)).events()
        first = json.loads((await anext(events)).split("data: ")[1])
        tiles = first["workers"].items()
        gone = next(id_ for id_, tile in tiles if tile["name"] == "mac-01")
        source.shown = overview([worker("mac-02")])
        told = []
        for _ in range(3):
            message = await asyncio.wait_for(anext(events), 10)
            told.append(json.loads(message.split("data: ")[1]).get("workers", {}))
        await events.aclose()
        return gone, told

    gone, told = asyncio.run(watch())
    assert any(gone in tiles and tiles[gone] is None for tiles in told)

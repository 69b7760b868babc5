"""What a server of classifiers answers over HTTP."""

from __future__ import annotations

import json
import re
import threading

import pytest

from mlpeft.adapters.adapt import adapt
from mlpeft.adapters.text_classifier import TextClassifier
from mlpeft.serving.limits import Limits
from tests.adapters.runs import EXAMPLES, write_run
from tests.serving.conftest import TEACHING

TEXTS = ["where is my parcel", "money back please"]


def test_examples_become_an_adapter_that_labels_texts_as_in_python(served, base):
    made = served.teach(reject_below=0.1)
    assert made["labels"] == ["delivery", "refund"]
    assert (made["examples"], made["learns"]) == (4, True)
    found = served.predict(*TEXTS)
    assert [one["label"] for one in found] == ["delivery", "refund"]
    clf = TextClassifier.fit(
        [text for text, _ in EXAMPLES], [label for _, label in EXAMPLES], base=base
    )
    for one, row in zip(found, clf.predict_proba(TEXTS), strict=True):
        assert one["probabilities"] == pytest.approx(
            dict(zip(clf.classes_, row, strict=True)), abs=1e-5
        )
        assert one["confidence"] == max(one["probabilities"].values())


def test_labels_that_are_described_need_no_examples(served):
    described = {"parcel": "where is my parcel", "money": ["money back", "my money"]}
    made = served.teach(id="zero", examples=[], label_descriptions=described)
    assert (made["labels"], made["examples"]) == (["money", "parcel"], 0)
    assert served.predict("my money back")[0]["label"] == "money"


def test_more_examples_of_a_new_label_are_learned_under_the_same_id(served):
    served.teach()
    more = {"examples": [{"text": "is is is", "label": "chatter"}] * 2}
    status, made = served.json("POST", "/adapters/tickets/examples", more)
    assert status == 200
    assert made["labels"] == ["chatter", "delivery", "refund"]
    assert made["examples"] == 6
    assert served.predict("is is is")[0]["label"] == "chatter"
    _, listed = served.json("GET", "/adapters")
    assert [one["id"] for one in listed["adapters"]] == ["tickets"]


def test_a_text_may_have_several_labels(served):
    examples = [
        {"text": "where is my parcel", "labels": ["delivery"]},
        {"text": "money back please", "labels": ["refund"]},
        {"text": "my parcel money back", "labels": ["delivery", "refund"]},
    ]
    made = served.teach(examples=examples)
    assert made["multi_label"]
    (found,) = served.predict("my parcel money back")
    assert (found["label"], set(found["labels"])) == (None, {"delivery", "refund"})


def test_below_the_threshold_a_text_is_rejected(served):
    served.teach(head="prototype", reject_below=0.999)
    (found,) = served.predict("money parcel", top=1)
    assert (found["label"], found["labels"], found["rejected"]) == (None, [], True)
    assert len(found["probabilities"]) == 1
    (found,) = served.predict("money parcel", reject_below=0.0)
    assert found["label"] in {"delivery", "refund"}


def test_a_label_for_none_of_the_others_rejects_too(served):
    chatter = [{"text": text, "label": "chatter"} for text in ("is is", "is is is")]
    examples = TEACHING["examples"] * 2 + chatter
    made = served.teach(examples=examples, reject_below="auto")
    assert (made["none_label"], made["labels"][-1]) == ("none of these",) * 2
    (found,) = served.predict("please")
    assert (found["label"], found["labels"], found["rejected"]) == (None, [], True)
    assert next(iter(found["probabilities"])) == "none of these"


def test_folders_of_every_kind_are_served_over_one_base(serving, base, tmp_path):
    run = write_run(tmp_path, base)
    adapt(run, EXAMPLES, tmp_path / "stepped", steps=2)
    texts, labels = map(list, zip(*EXAMPLES, strict=True))
    clf = TextClassifier.fit(texts, labels, start=run, head="ngrams")
    clf.save(tmp_path / "fitted")
    folders = {name: tmp_path / name for name in ("stepped", "fitted")}
    served = serving(folders=folders)
    expected = dict(zip(clf.classes_, clf.predict_proba(TEXTS[:1])[0], strict=True))
    for _ in range(2):  # their leaves take turns in the model
        for name in folders:
            (found,) = served.predict(TEXTS[0], adapter=name)
            assert found["label"] == "delivery"
        assert found["probabilities"] == pytest.approx(expected, abs=1e-5)
    encoders = {entry.embedder.encoder for entry in served.server.library.entries()}
    assert len({encoder._base for encoder in encoders}) == 1
    assert len(encoders) == 2
    more = {"examples": TEACHING["examples"]}
    status, answer = served.json("POST", "/adapters/stepped/examples", more)
    assert status == 409
    assert "adapted by inner steps" in answer["error"]


def test_adapters_of_one_start_share_an_encoder(served):
    served.teach(id="a")
    served.teach(id="b")
    first, second = served.server.library.entries()
    assert first.embedder.encoder is second.embedder.encoder


def test_a_run_is_a_start_whose_place_callers_do_not_see(serving, base, tmp_path):
    served = serving(start=str(write_run(tmp_path, base)))
    health = served.json("GET", "/health")[1]
    assert health["starts"] == ["run", "intents", "none"]
    served.teach()
    served.teach(id="frozen", start="none")
    leaves = [entry.adapter.leaves for entry in served.server.library.entries()]
    assert ["lora" in " ".join(one) for one in leaves] == [True, False]


def test_what_is_stored_outlives_the_server_until_it_is_deleted(serving, tmp_path):
    first = serving(store=tmp_path / "store")
    first.teach()
    more = {"examples": [{"text": "is is is", "label": "chatter"}] * 2}
    assert first.json("POST", "/adapters/tickets/examples", more)[0] == 200
    first.server.close()
    second = serving(store=tmp_path / "store")
    assert second.predict("is is is")[0]["label"] == "chatter"
    assert second.call("DELETE", "/adapters/tickets")[0] == 204
    assert not (tmp_path / "store" / "tickets").exists()
    assert second.json("GET", "/adapters") == (200, {"adapters": []})


def test_a_folder_of_the_user_is_forgotten_and_not_deleted(serving, base, tmp_path):
    clf = TextClassifier.fit(*map(list, zip(*EXAMPLES, strict=True)), base=base)
    served = serving(folders={"mine": clf.save(tmp_path / "mine")})
    assert served.call("DELETE", "/adapters/mine")[0] == 204
    assert (tmp_path / "mine" / "adapter.json").is_file()
    assert served.call("GET", "/adapters/mine")[0] == 404


WRONG_REQUESTS = [
    ("null", "body", "got null, expected a JSON object"),
    ("", "body", "got nothing, expected a JSON object"),
    ('{"texts":["\\ud800"]}', "texts.0", "expected a valid string"),
    ('{"texts":["a"', "body", "no JSON"),
    ({"texts": ["a", 3]}, "texts.1", "expected a valid string"),
    ({"texts": []}, "texts", "at least 1 item"),
    ({"texts": ["a", " "]}, "texts.1", "expected words"),
    ({"texts": ["a"], "tpo": 1}, "tpo", "no such key"),
    ({"texts": ["a"] * 9}, "texts", "got 9 texts, expected at most 8"),
    ({"texts": ["a" * 51]}, "texts.0", "51 characters, expected at most 50"),
    ({"texts": ["a"], "reject_below": 2}, "reject_below", "less than or equal to"),
    ({"texts": ["a"], "adapter": "../x"}, "adapter", "expected a match of"),
    ({}, "texts", "got nothing"),
]
"""Body, where the problem is, and what is told."""


def test_a_request_that_is_wrong_is_told_what_was_expected(serving):
    served = serving(Limits(batch=8, text_chars=50))
    for body, where, told in WRONG_REQUESTS:
        status, answer = served.json("POST", "/predict", body)
        assert status == 422
        assert told in answer["error"]
        assert answer["problems"][0]["where"] == where
        assert answer["do"]
    status, answer = served.json("POST", "/predict", "[" * 100_000)
    assert (status, "less nesting" in answer["error"]) == (400, True)


WRONG_EXAMPLES = [
    ({"examples": [{"text": "a"}]}, "one of label and labels"),
    ({"examples": [{"text": "a", "label": "b"}]}, "at least two labels"),
    ({"start": "/etc"}, "expected one of none, intents"),
    ({"id": "Not An Id"}, "expected a match of"),
    ({"head": "ridgy"}, "did you mean 'ridge'"),
    ({"examples": [{"text": "a", "label": "b"}] * 7}, "got 7 texts"),
    (
        {"examples": [{"text": "a", "label": f"l{n}"} for n in range(6)]},
        "got 6 labels, expected at most 5",
    ),
]
"""Changes to a right body, and what is told."""


def test_examples_that_are_wrong_are_told_what_was_expected(serving):
    served = serving(Limits(examples=6, labels=5))
    for body, told in WRONG_EXAMPLES:
        status, answer = served.json("POST", "/adapters", TEACHING | body)
        assert status in (409, 422)
        assert told in answer["error"]
    assert served.json("GET", "/adapters")[1] == {"adapters": []}


def test_ids_are_unique_and_adapters_limited(serving):
    served = serving(Limits(adapters=2))
    served.teach()
    status, answer = served.json("POST", "/adapters", TEACHING)
    assert (status, "give another id" in answer["error"]) == (409, True)
    second = served.teach(id=None)["id"]
    status, answer = served.json("POST", "/adapters", TEACHING | {"id": "third"})
    assert (status, "--max-adapters" in answer["error"]) == (409, True)
    status, answer = served.json("POST", "/predict", {"texts": ["is"]})
    assert (status, answer["error"]) == (
        404,
        f"no adapter was named; there are: tickets, {second}",
    )


def test_a_read_only_server_changes_nothing(serving, base, tmp_path):
    clf = TextClassifier.fit(*map(list, zip(*EXAMPLES, strict=True)), base=base)
    served = serving(folders={"mine": clf.save(tmp_path / "mine")}, read_only=True)
    assert served.json("POST", "/adapters", TEACHING)[0] == 403
    assert served.call("DELETE", "/adapters/mine")[0] == 403
    assert served.predict(TEXTS[0])[0]["label"] == "delivery"


def test_no_page_of_another_site_and_no_other_host_name_gets_an_answer(served):
    for headers in ({"origin": "https://evil.example"}, {"host": "evil.example"}):
        status, answer = served.json("GET", "/adapters", **headers)
        assert status == 403
        assert "evil.example" in answer["error"]
    assert served.json("GET", "/adapters", origin=served.url)[0] == 200


def test_with_a_token_only_what_tells_nothing_is_open(serving):
    served = serving(token="x" * 20)
    for path in ("/health", "/docs", "/openapi.json", "/static/docs.js"):
        assert served.call("GET", path)[0] == 200, path
    for path in ("/adapters", "/metrics", "/nothing"):
        assert served.call("GET", path)[0] == 401, path
        wrong = served.call("GET", path, authorization="Bearer y")
        assert (wrong[0], wrong[1]["www-authenticate"]) == (401, "Bearer")
    assert served.call("GET", "/adapters", authorization=f"Bearer {'x' * 20}")[0] == 200
    schemes = served.json("GET", "/openapi.json")[1]["components"]["securitySchemes"]
    assert schemes["HTTPBearer"]["scheme"] == "bearer"


def test_a_body_beyond_the_limit_is_refused_even_without_its_length(serving):
    served = serving(Limits(body_bytes=100))
    big = b'{"texts": ["' + b"a" * 100 + b'"]}'
    assert served.json("POST", "/predict", big)[0] == 413
    connection = served.connect()
    connection.request("POST", "/predict", iter([big[:50], big[50:]]))
    assert connection.getresponse().status == 413
    connection.close()


def test_a_body_that_does_not_come_is_not_waited_for(serving):
    served = serving(Limits(body_s=0.05))
    connection = served.connect()
    connection.putrequest("POST", "/predict")
    connection.putheader("content-length", "50")
    connection.endheaders(b"{")
    answer = connection.getresponse()
    assert (answer.status, "within 0.05 s" in answer.read().decode()) == (408, True)
    connection.close()


def test_the_page_and_its_data_load_nothing_from_elsewhere(served):
    _, headers, page = served.call("GET", "/docs")
    assert "script-src 'self'" in headers["content-security-policy"]
    for name in ("docs.js", "docs.css"):
        assert f"/static/{name}" in page
        status, _, text = served.call("GET", f"/static/{name}")
        assert (status, re.findall(r"https?://", text)) == (200, [])
    assert not re.search(r"https?://|<style|\son\w+=", page)
    api = served.json("GET", "/openapi.json")[1]
    assert {"/predict", "/adapters", "/adapters/{id}/examples"} <= set(api["paths"])
    refused = api["paths"]["/predict"]["post"]["responses"]["422"]["content"]
    assert refused["application/json"]["schema"]["$ref"].endswith("/ErrorAnswer")
    assert served.call("GET", "/static/api.py")[0] == 404
    assert served.call("GET", "/")[1]["location"] == "/docs"


def test_metrics_count_requests_texts_and_batches(served):
    served.teach()
    served.predict(*TEXTS)
    served.call("BREW", "/predict")
    served.call("GET", "/nothing/at/all")
    text = served.call("GET", "/metrics")[2]
    assert 'requests_total{method="POST",route="/predict",status="200"} 1.0' in text
    assert 'requests_total{method="GET",route="other",status="404"} 1.0' in text
    assert 'method="other"' in text
    assert "mlpeft_serve_texts_total 2.0" in text
    assert "mlpeft_serve_adapters 1.0" in text
    assert "BREW" not in text


def test_too_many_requests_to_learn_are_told_to_come_back(serving, monkeypatch):
    served = serving(Limits(learning=1))
    learning, go_on = threading.Event(), threading.Event()
    load_start = served.server.library.load_start

    def waiting(name):
        learning.set()
        assert go_on.wait(20)
        return load_start(name)

    monkeypatch.setattr(served.server.library, "load_start", waiting)
    first = threading.Thread(target=served.teach)
    first.start()
    assert learning.wait(20)
    status, headers, text = served.call("POST", "/adapters", TEACHING | {"id": "b"})
    assert (status, headers["retry-after"]) == (503, "1")
    assert "1 requests to learn wait or run" in json.loads(text)["error"]
    go_on.set()
    first.join(20)
    assert served.call("GET", "/adapters/tickets")[0] == 200


def test_an_error_of_ours_is_an_answer_too(served, monkeypatch, caplog):
    monkeypatch.setattr(served.server.library, "entries", lambda: 1 / 0)
    status, answer = served.json("GET", "/adapters")
    assert (status, answer["error"]) == (
        500,
        "an error of the server: ZeroDivisionError",
    )
    assert "GET /adapters failed" in caplog.text

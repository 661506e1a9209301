"""Bulk awards and revocations."""

from __future__ import annotations

import json
from typing import Any

from tests.support import Service, award


def ndjson(*lines: Any) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def send(ask: Any, path: str, body: bytes) -> list[dict[str, Any]]:
    answer = ask("POST", path, content=body, headers={"Content-Type": "application/x-ndjson"})
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def test_a_batch_answers_each_line_and_sent_again_it_is_known(service: Service) -> None:
    institution = service.admitted()
    lines = [
        award("a"),
        award("b", learner={"eduId": "x-1"}),
        award("c", learner={"eduId": "x-1"}),
        award("a"),
        award("a", grade="9"),
        {**award("d"), "moduleReference": "nope"},
        {"reference": "e"},
    ]
    first = send(institution, "/v1/badge-batches", ndjson(*lines) + b"{not json\n")
    assert [each["outcome"] for each in first] == [
        "awarded",
        "awarded",
        "awarded",
        "known",
        "refused",
        "refused",
        "refused",
        "refused",
    ]
    assert [each["line"] for each in first] == list(range(1, 9))
    assert first[1]["learnerId"] == first[2]["learnerId"] != first[0]["learnerId"]
    assert first[5]["problem"]["type"] == "/problems/module-unknown"
    again = send(institution, "/v1/badge-batches", ndjson(*lines[:3]))
    assert [(each["outcome"], each["position"]) for each in again] == [
        ("known", each["position"]) for each in first[:3]
    ]
    revoked = send(
        institution,
        "/v1/badge-revocations",
        ndjson(
            {"reference": "a", "reason": "fraud"},
            {"id": first[1]["id"], "reason": "other", "note": "x"},
            {"reference": "a", "reason": "fraud"},
            {"reference": "a", "reason": "other"},
            {"reference": "zz", "reason": "other"},
        ),
    )
    assert [each["outcome"] for each in revoked] == ["revoked", "revoked", "known", "refused", "refused"]
    service.settle()
    assert service.client.get(f"/v1/badges/{first[0]['id']}/status").json()["status"] == "revoked"


def test_a_batch_of_many_lines_is_recorded_whole(service: Service) -> None:
    institution = service.admitted()
    lines = [award(f"r-{n}", learner={"eduId": f"e-{n % 700}"}) for n in range(5_000)]
    found = send(institution, "/v1/badge-batches", ndjson(*lines))
    assert {each["outcome"] for each in found} == {"awarded"}
    assert len({each["learnerId"] for each in found}) == 700
    assert sorted(each["position"] for each in found) == list(range(3, 5_003))

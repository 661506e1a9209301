"""docs/events.md, held to the code and run as it stands: the events, the proofs, and a copy of the log."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.event_schemas import EVENTS
from tests.api.asking import admitted, award_body, awarded, ok, on_a_socket
from tests.end_to_end.page_blocks import blocks
from tests.support import Service

PAGE = (Path(__file__).parents[2] / "docs" / "events.md").read_text()
PROOF, COPY = (block.text for block in blocks("docs/events.md", "python"))

Commitment = Callable[[str, Any], str]


def test_the_page_has_every_type_of_event_in_the_words_of_its_schema() -> None:
    kind = r"(?:institution|module|badge|token|registry)\.[a-z]+"
    rows = dict(re.findall(rf"^\| `({kind})` \| (.*) \|$", PAGE, re.MULTILINE))
    assert rows == EVENTS


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """The functions of the page's program."""
    names: dict[str, Any] = {}
    exec(PROOF, names)
    return names


texts = st.text(st.characters(codec="utf-8"))


@given(st.recursive(texts, lambda inner: st.lists(inner) | st.dictionaries(st.text("abcXYZ"), inner)))
def test_the_pages_canonical_json_is_that_of_rfc_8785(value: Any) -> None:
    names: dict[str, Any] = {}
    exec(PROOF, names)
    assert names["canonical"](value) == rfc8785.dumps(value)


def commitments_of(service: Service, badge: str) -> dict[str, str]:
    """The latest commitment to each part, as an auditor reads them."""
    answer = service.as_("auditor")("GET", "/v1/events", params={"subject": badge})
    events = [json.loads(line) for line in answer.text.splitlines()]
    latest: dict[str, str] = {}
    for event in events:
        latest |= event["data"].get("commitments", {})
    return latest


@pytest.mark.parametrize(
    "corrected", [{}, {"grade": "9"}, {"name": "Ä. Jánsen"}, {"grade": "9,5", "name": "B"}]
)
def test_a_learner_proves_each_part_from_what_the_registry_answers(
    shared_service: Service, page: dict[str, Any], corrected: dict[str, str]
) -> None:
    _, institution = admitted(shared_service)
    evidence = [{"url": "https://example.org/é", "narrative": 'Regel 1\n"Regel 2"\t\\'}, {"name": "Ω"}]
    badge = awarded(institution, evidence=evidence)
    if corrected:
        ok(institution("POST", f"/v1/badges/{badge['id']}/correction", corrected))
    shared_service.settle()
    committed = commitments_of(shared_service, badge["id"])
    learner = shared_service.as_("learner", learner_id=badge["learnerId"])
    for asker in (learner, institution):
        shown = ok(asker("GET", f"/v1/badges/{badge['id']}"))
        parts = {"recipient": shown["learner"]} | {
            name: shown[name] for name in ("reference", "grade", "evidence")
        }
        assert set(committed) == set(shown["salts"]) == set(parts)
        for name, part in parts.items():
            assert page["commitment"](shown["salts"][name], part) == committed[name], name
        assert page["commitment"](shown["salts"]["grade"], "10") != committed["grade"]


@pytest.mark.parametrize(
    ("act", "member", "type_"),
    [("suspension", "suspension", "badge.suspended"), ("revocation", "revocation", "badge.revoked")],
)
def test_a_note_is_proved_by_its_salt_which_an_auditor_is_not_shown(
    shared_service: Service, page: dict[str, Any], act: str, member: str, type_: str
) -> None:
    _, institution = admitted(shared_service)
    badge = awarded(institution)
    address, note = f"/v1/badges/{badge['id']}", "Ä, regel 1\nregel 2"
    ok(institution("POST", f"{address}/{act}", {"reason": "other", "note": note}))
    shared_service.settle()
    (event,) = [
        each
        for each in ok(shared_service.as_("auditor")("GET", f"{address}/history"))["items"]
        if each["type"] == type_
    ]
    learner = shared_service.as_("learner", learner_id=badge["learnerId"])
    for asker in (learner, institution):
        shown = ok(asker("GET", address))[member]
        assert page["commitment"](shown["noteSalt"], shown["note"]) == event["data"]["noteCommitment"]
        assert page["commitment"](shown["noteSalt"], "another") != event["data"]["noteCommitment"]
        assert shown["noteSalt"] != event["data"]["salt"]
    seen = ok(shared_service.as_("auditor")("GET", address))[member]
    assert {"note", "noteSalt"} & set(seen) == set()


def test_an_act_without_a_note_has_no_salt(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    address = f"/v1/badges/{awarded(institution)['id']}"
    ok(institution("POST", f"{address}/revocation", {"reason": "other"}))
    shared_service.settle()
    assert set(ok(institution("GET", address))["revocation"]) == {"reason", "since"}


def test_who_may_not_see_a_part_gets_no_salt(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    badge = awarded(institution)
    shared_service.settle()
    seen = ok(shared_service.as_("auditor")("GET", f"/v1/badges/{badge['id']}"))
    assert {"salts", "grade", "learner", "evidence", "reference"} & set(seen) == set()


def test_a_part_that_was_not_given_has_no_salt(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    badge = awarded(institution, grade=..., evidence=...)
    shared_service.settle()
    assert set(ok(institution("GET", f"/v1/badges/{badge['id']}"))["salts"]) == {"recipient", "reference"}


def copied(address: str, token: str, file: Path) -> subprocess.CompletedProcess[str]:
    program = f"{COPY}\nprint(download({str(file)!r}))"
    environment = {"REGISTRY": address, "AUDITOR": token}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )


def test_a_copy_of_the_log_goes_on_wherever_it_was_broken_off(
    shared_service: Service, tmp_path: Path
) -> None:
    _, institution = admitted(shared_service)
    lines = "".join(json.dumps(award_body()) + "\n" for _ in range(30)).encode()
    headers = {"Content-Type": "application/x-ndjson"}
    assert institution("POST", "/v1/badge-batches", content=lines, headers=headers).status_code == 200
    whole = shared_service.as_("auditor")("GET", "/v1/events", params={"limit": 10_000}).content
    token, file = shared_service.token("auditor"), tmp_path / "log.ndjson"
    last = whole.count(b"\n")
    ends = [place for place, byte in enumerate(whole) if byte == 0x0A]
    with on_a_socket(shared_service) as (host, port):
        for cut in (0, 1, ends[0], ends[0] + 1, ends[3] - 20, ends[-1] - 1, ends[-1], len(whole)):
            file.write_bytes(whole[:cut])
            done = copied(f"http://{host}:{port}", token, file)
            assert (done.returncode, done.stdout) == (0, f"{last}\n"), done.stderr
            assert file.read_bytes() == whole, cut
        # A copy of another log is not continued.
        file.write_bytes(whole[: ends[3] + 1].replace(b'{"position":4,', b'{"position":999999,'))
        assert copied(f"http://{host}:{port}", token, file).returncode != 0

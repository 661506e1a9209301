"""Bulk awards and revocations."""

from __future__ import annotations

import codecs
import gc
import json
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from api.http.ndjson import MAX_LINE, MAX_LINES
from api.http.requests import MAX_MEMBERS
from registry.event_store.append import Appended, ConnectionLostError, Unit
from registry.event_store.session import Session
from registry.postgres.connections import UnavailableError
from registry.recording.registry import Registry
from tests.api.asking import (
    UNKNOWN_ID,
    Ask,
    admitted,
    award_body,
    awarded,
    last_position,
    nothing_recorded,
    ok,
    refused,
    wrong,
)
from tests.support import Service, award

NDJSON = "application/x-ndjson"
AWARDS, REVOCATIONS = "/v1/badge-batches", "/v1/badge-revocations"
MARK = "Zq7Xw"
"""Stands in each private value that is sent."""


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


# What a line may be.


def outcomes(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == NDJSON
    return [json.loads(line) for line in answer.content.split(b"\n")[:-1]]


def sent(ask: Any, body: bytes, path: str = AWARDS, media_type: str = NDJSON) -> Any:
    return ask("POST", path, content=body, headers={"Content-Type": media_type})


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CR LF"])
@pytest.mark.parametrize("last", [True, False], ids=["ended", "not ended"])
def test_lines_may_end_in_either_way_and_the_last_one_in_none(hbo: Ask, end: bytes, last: bool) -> None:
    lines = [json.dumps(award_body()).encode() for _ in range(3)]
    found = outcomes(sent(hbo, end.join(lines) + (end if last else b"")))
    assert [(each["line"], each["outcome"]) for each in found] == [(n, "awarded") for n in (1, 2, 3)]


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"  ",
        b"\xff\xfe",
        b'{"reference": "\xc3\x28"}',
        b"null",
        b"[]",
        b"{",
        b'{"a": 1}{"b": 2}',
        b"\x00",
    ],
)
def test_a_line_that_is_no_object_is_refused_and_the_others_are_recorded(hbo: Ask, bad: bytes) -> None:
    found = outcomes(sent(hbo, ndjson(award_body()) + bad + b"\n" + ndjson(award_body())))
    assert [each["outcome"] for each in found] == ["awarded", "refused", "awarded"]
    assert set(found[1]) == {"line", "reference", "outcome", "problem"}
    assert set(found[1]["problem"]) == {"type", "title", "status", "detail"}
    assert (found[1]["line"], found[1]["problem"]["type"]) == (2, "/problems/invalid-input")


def test_a_byte_order_mark_before_a_line_is_skipped_and_utf_16_is_named(hbo: Ask) -> None:
    """Files of Windows begin with the mark, and several of them in a row are one batch."""
    lines = [codecs.BOM_UTF8 + ndjson(award_body()) for _ in range(2)]
    awards = send(hbo, AWARDS, b"".join(lines))
    assert [each["outcome"] for each in awards] == ["awarded", "awarded"]
    revocations = [codecs.BOM_UTF8 + ndjson({"id": each["id"], "reason": "other"}) for each in awards]
    assert [each["outcome"] for each in send(hbo, REVOCATIONS, b"".join(revocations))] == ["revoked"] * 2
    for path in (AWARDS, REVOCATIONS):
        for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
            (first, *_) = send(hbo, path, (json.dumps(award_body()) + "\n").encode(encoding))
            assert "is UTF-16; send it as UTF-8" in first["problem"]["detail"]


def test_a_line_of_64_kib_is_taken_and_one_byte_more_is_refused(hbo: Ask) -> None:
    line = json.dumps(award_body()).encode()
    longer = json.dumps(award_body()).encode()
    body = line.ljust(MAX_LINE) + b"\n" + longer.ljust(MAX_LINE + 1) + b"\n" + longer
    found = outcomes(sent(hbo, body))
    assert [each["outcome"] for each in found] == ["awarded", "refused", "awarded"]
    assert f"at most {MAX_LINE} bytes" in found[1]["problem"]["detail"]


def test_a_hostile_line_is_not_answered_by_more_than_it_is(hbo: Ask) -> None:
    members = {f"m{number}": 1 for number in range(900)}
    line = json.dumps(members).encode()
    answer = sent(hbo, line)
    (found,) = outcomes(answer)
    assert len(answer.content) < len(line) < MAX_LINE
    assert found["problem"]["detail"] == f"This line: an object must have at most {MAX_MEMBERS} fields."


def test_a_members_name_cannot_break_a_line_of_the_answer(hbo: Ask) -> None:
    name = "a\x85b\u2028c\nd\r"
    answer = sent(hbo, json.dumps(award_body(**{name: 1}), ensure_ascii=False).replace("\n", "").encode())
    assert len(answer.text.splitlines()) == 1
    assert outcomes(answer)[0]["problem"]["errors"][0]["pointer"] == "/a?b?c?d?"


# What a body may be.


@pytest.mark.parametrize("path", [AWARDS, REVOCATIONS])
@pytest.mark.parametrize("media_type", ["application/json", "text/plain", "", "application/x-ndjson2"])
def test_another_media_type_is_refused(hbo: Ask, path: str, media_type: str) -> None:
    refused(sent(hbo, ndjson(award_body()), path, media_type), 415, "media-type")


def test_the_media_type_may_have_a_parameter_and_capitals(hbo: Ask) -> None:
    assert outcomes(sent(hbo, b"{}", media_type="Application/X-NDJSON; charset=utf-8"))


@pytest.mark.parametrize("path", [AWARDS, REVOCATIONS])
def test_a_body_without_a_line_is_refused(hbo: Ask, path: str) -> None:
    wrong(sent(hbo, b"", path), "")


@pytest.mark.slow
def test_a_hundred_thousand_lines_are_read_and_one_more_is_too_many(
    shared_service: Service, hbo: Ask
) -> None:
    first = ndjson(*(award_body() for _ in range(3)))
    body = first + b"{}\n" * (MAX_LINES - 3)
    found = outcomes(sent(hbo, body))
    assert [each["line"] for each in found] == list(range(1, MAX_LINES + 1))
    assert {each["outcome"] for each in found[:3]} == {"awarded"}
    others = ndjson(*(award_body() for _ in range(3)))
    before = last_position(shared_service)
    too_many = refused(sent(hbo, others + body), 413, "too-large")
    assert "100000 lines" in too_many["detail"]
    assert last_position(shared_service) == before + 3, "what was read before the limit stands"
    assert {each["outcome"] for each in outcomes(sent(hbo, others))} == {"known"}


def test_an_unended_line_beyond_the_last_one_is_too_many(hbo: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.http.ndjson.MAX_LINES", 3)
    assert len(outcomes(sent(hbo, b"{}\n{}\n{}\n"))) == 3
    assert len(outcomes(sent(hbo, b"{}\n{}\n{}"))) == 3
    for more in (b"{", b"\n", b" "):
        refused(sent(hbo, b"{}\n{}\n{}\n" + more), 413, "too-large")


# What an outcome says.


def test_outcomes_come_in_the_order_of_the_lines_whatever_becomes_of_them(hbo: Ask) -> None:
    kinds: dict[str, Callable[[], dict[str, Any]]] = {
        "awarded": award_body,
        "known": lambda: award("before"),
        "refused": lambda: award_body(moduleReference="nope"),
        "wrong": lambda: award_body(awardedOn="gisteren"),
    }
    outcomes(sent(hbo, ndjson(award("before"))))
    order = random.Random(7).choices(list(kinds), k=2_500)
    lines = [kinds[kind]() for kind in order]
    found = outcomes(sent(hbo, ndjson(*lines)))
    assert [each["line"] for each in found] == list(range(1, 2_501))
    assert [each["outcome"] for each in found] == ["refused" if each == "wrong" else each for each in order]
    for line, each in zip(lines, found, strict=True):
        assert each["reference"] == line["reference"]


def test_an_outcome_holds_nothing_personal(hbo: Ask) -> None:
    private = {
        "learner": {"eduId": f"{MARK}-1", "name": f"{MARK} Jansen", "email": f"{MARK}@example.org"},
        "grade": MARK,
        "evidence": [{"url": f"https://example.org/{MARK}", "narrative": MARK}],
    }
    good = award_body(**private)
    lines = [
        good,
        good,
        good | {"grade": f"{MARK} 2"},
        award_body(**private, moduleReference="nope"),
        award_body(**private, moduleReference=MARK, awardedOn=MARK),
        award_body(**private | {"learner": {"eduId": MARK, "eppn": MARK}, "grade": MARK * 40}),
        award_body(**private | {"learner": MARK, "evidence": MARK}),
    ]
    answer = sent(hbo, ndjson(*lines) + f'{{"grade": "{MARK}'.encode())
    assert len(outcomes(answer)) == 8
    assert MARK not in answer.text
    revocations = [
        {"reference": good["reference"], "reason": "other", "note": MARK},
        {"reference": good["reference"], "reason": MARK, "note": MARK},
        {"reference": good["reference"], "reason": "fraud", "note": MARK},
    ]
    answer = sent(hbo, ndjson(*revocations), REVOCATIONS)
    assert [each["outcome"] for each in outcomes(answer)] == ["revoked", "refused", "refused"]
    assert MARK not in answer.text


def test_a_lines_problem_is_the_one_that_the_single_call_answers(hbo: Ask) -> None:
    for body in (
        award_body(moduleReference="nope"),
        award_body(awardedOn="2021-01-01"),
        award_body(awardedOn="1900-01-01", grade="", learner={}),
        award_body(supersedes=UNKNOWN_ID),
    ):
        alone = hbo("POST", "/v1/badges", body).json()
        (found,) = outcomes(sent(hbo, ndjson(body)))
        del alone["instance"]
        assert found["problem"] == alone


# Revocations.


def test_a_revocation_names_a_badge_in_one_way_and_only_ones_own(shared_service: Service, hbo: Ask) -> None:
    _, other = admitted(shared_service)
    badge, reference = awarded(hbo), award_body()["reference"]
    mine = awarded(hbo, reference=reference)
    lines = [
        {"id": badge["id"], "reference": reference, "reason": "other"},
        {"reason": "other"},
        {"id": f"{badge['id']} ", "reason": "other"},
        {"id": badge["id"], "reason": "other", "effectiveOn": "2018-01-01"},
        {"id": badge["id"]},
    ]
    with nothing_recorded(shared_service):
        problems = [each["problem"]["status"] for each in outcomes(sent(hbo, ndjson(*lines), REVOCATIONS))]
        assert problems == [400] * 5
        theirs = [{"id": badge["id"], "reason": "other"}, {"reference": reference, "reason": "other"}]
        for each in outcomes(sent(other, ndjson(*theirs), REVOCATIONS)):
            assert each["problem"]["type"] == "/problems/badge-unknown"
    found = outcomes(sent(hbo, ndjson({"reference": reference, "reason": "fraud"}), REVOCATIONS))
    assert (found[0]["outcome"], found[0]["id"]) == ("revoked", mine["id"])


def test_a_suspended_institution_revokes_in_bulk_but_awards_nothing(shared_service: Service) -> None:
    brin, institution = admitted(shared_service)
    badge = awarded(institution)
    ok(shared_service.as_("registrar")("POST", f"/v1/institutions/{brin}/suspension", {"reason": "quality"}))
    found = outcomes(sent(institution, ndjson(award_body(), award_body())))
    assert {each["problem"]["type"] for each in found} == {"/problems/institution-suspended"}
    found = outcomes(sent(institution, ndjson({"id": badge["id"], "reason": "other"}), REVOCATIONS))
    assert found[0]["outcome"] == "revoked"


def test_one_line_twice_in_a_batch_is_one_badge_and_one_revocation(shared_service: Service, hbo: Ask) -> None:
    body = award_body()
    before = last_position(shared_service)
    found = outcomes(sent(hbo, ndjson(*[body] * 40)))
    assert [each["outcome"] for each in found] == ["awarded", *["known"] * 39]
    assert {(each["id"], each["position"]) for each in found} == {(found[0]["id"], before + 1)}
    line = {"reference": body["reference"], "reason": "other"}
    found = outcomes(sent(hbo, ndjson(*[line] * 40), REVOCATIONS))
    assert [each["outcome"] for each in found] == ["revoked", *["known"] * 39]
    assert last_position(shared_service) == before + 2


def test_one_wrong_line_many_times_in_a_batch_is_refused_each_time(hbo: Ask) -> None:
    found = outcomes(sent(hbo, ndjson(*[award_body(moduleReference="nope")] * 40, award_body())))
    assert [each["outcome"] for each in found] == ["refused"] * 40 + ["awarded"]
    line = {"reference": "nobody's", "reason": "other"}
    assert {each["outcome"] for each in outcomes(sent(hbo, ndjson(*[line] * 40), REVOCATIONS))} == {"refused"}


def test_other_content_under_one_reference_many_times_is_refused_each_time(hbo: Ask) -> None:
    body = award_body()
    others = [{**body, "grade": f"{number}"} for number in range(40)]
    found = outcomes(sent(hbo, ndjson(body, *others)))
    assert [each["outcome"] for each in found] == ["awarded"] + [
        "known" if each["grade"] == body["grade"] else "refused" for each in others
    ]


def test_nothing_is_recorded_beyond_a_page_that_could_not_be(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The first two pages are recorded side by side; the third names a badge of the second, and waits."""
    institution, appended = service.admitted(), Session.append
    bodies = [award(f"r-{number}", learner={"eduId": f"e-{number}"}) for number in range(12)]
    bodies[6] = {**bodies[3], "grade": "another"}
    tried = []

    def fails(session: Session, units: Sequence[Unit], *arguments: Any) -> Appended:
        tried.append(len(units))
        if tried != [3]:  # the second page, alone or with the first
            raise UnavailableError("away")
        return appended(session, units, *arguments)

    monkeypatch.setattr("api.http.ndjson.PAGE", 3)
    monkeypatch.setattr(Session, "append", fails)
    before = last_position(service)
    answer = sent(institution, ndjson(*bodies))
    assert answer.status_code == 503, answer.text
    gc.collect()
    assert [record.name for record in caplog.records] == ["registry.api"], "another failure was left unheard"
    recorded = 0 if tried == [6] else 3
    assert tried == ([3, 3] if recorded else [6])
    assert last_position(service) == before + recorded
    monkeypatch.setattr(Session, "append", appended)
    found = [each["outcome"] for each in outcomes(sent(institution, ndjson(*bodies)))]
    assert sorted(found[:6]) == ["awarded"] * (6 - recorded) + ["known"] * recorded
    assert found[6:] == ["refused"] + ["awarded"] * 5


def test_a_page_whose_recording_was_not_heard_of_is_settled_before_the_next(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    institution, appended = service.admitted(), Session.append
    tried: list[int] = []
    lost: list[int] = []

    def unheard(session: Session, units: Sequence[Unit], *arguments: Any) -> Appended:
        answer = appended(session, units, *arguments)
        tried.append(len(units))
        if tried != [3] and not lost:  # the second page, alone or with the first
            lost.append(len(units))
            raise ConnectionLostError("lost")
        return answer

    monkeypatch.setattr("api.http.ndjson.PAGE", 3)
    monkeypatch.setattr(Session, "append", unheard)
    bodies = [award(f"r-{number}", learner={"eduId": f"e-{number}"}) for number in range(12)]
    bodies[6] = {**bodies[3], "grade": "another"}
    found = [each["outcome"] for each in outcomes(sent(institution, ndjson(*bodies)))]
    assert lost in ([3], [6])
    assert sorted(found[:6]) == ["awarded"] * (6 - lost[0]) + ["known"] * lost[0]
    assert found[6:] == ["refused"] + ["awarded"] * 5


def test_a_line_that_is_refused_as_invalid_is_named_by_its_reference(service: Service) -> None:
    institution = service.admitted()
    lines = [award("later", awardedOn="2999-01-01"), {"reference": 7}, {"reference": "x" * 101}, []]
    found = send(institution, "/v1/badge-batches", ndjson(*lines))
    assert [each["outcome"] for each in found] == ["refused"] * 4
    assert [each["reference"] for each in found] == ["later", None, None, None]


def test_what_is_wrong_with_a_line_is_said_briefly(service: Service) -> None:
    """So that outcomes stay small, however many lines of however many unknown members come."""
    institution = service.admitted()
    line = award("a") | {f"unknown-{number:050}": 1 for number in range(60)}
    (found,) = send(institution, "/v1/badge-batches", ndjson(line))
    assert len(found["problem"]["errors"]) == 6
    assert len(json.dumps(found)) < 1_500


@pytest.mark.parametrize("line", [b"1", b"", b"[]", b"x", b"{", b"{1}", b'"a"'])
def test_a_refusal_that_names_no_member_is_short(hbo: Ask, line: bytes) -> None:
    answer = sent(hbo, (line + b"\n") * 5_000)
    assert {each["outcome"] for each in outcomes(answer)} == {"refused"}
    assert len(answer.content) < 5_000 * 250


def test_the_pages_of_all_batches_that_are_in_the_recorder_are_two(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a single award waits behind two pages, however many batches come in."""
    institutions = [service.admitted(), service.admitted("22OJ")]
    most, now, gate = [0], [0], threading.Lock()
    submit = Registry.submit

    def counted(registry: Registry, commands: Any, done: Any) -> Any:
        with gate:
            now[0] += 1
            most[0] = max(most[0], now[0])

        def answered(settled: Any) -> None:
            with gate:
                now[0] -= 1
            done(settled)

        return submit(registry, commands, answered)

    monkeypatch.setattr("api.http.ndjson.PAGE", 20)
    monkeypatch.setattr(Registry, "submit", counted)
    with ThreadPoolExecutor(4) as pool:
        bodies = [
            ndjson(
                *[
                    award(f"b{batch}-{number}", learner={"eduId": f"e{batch}-{number}"})
                    for number in range(400)
                ]
            )
            for batch in range(4)
        ]
        answers = list(pool.map(sent, [*institutions, *institutions], bodies))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert most[0] == 2

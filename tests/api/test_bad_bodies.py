"""Bodies that are no good: each is refused whole, and nothing of it is recorded."""

from __future__ import annotations

import codecs
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.asking import (
    Ask,
    admit,
    admitted,
    award_body,
    awarded,
    module_body,
    new_brin,
    nothing_recorded,
    ok,
    on_a_socket,
    refused,
    wrong,
)
from tests.support import INSTITUTION, Service

JSON = {"Content-Type": "application/json"}
LARGEST = 1024 * 1024


Call = tuple[Ask, str, str, dict[str, Any]]


def writes(service: Service) -> Iterator[Call]:
    """Every call that takes a body: who asks, method, path, and a body that is good."""
    _, institution = admitted(service)
    another, _ = admit(service)
    badge = awarded(institution)
    registrar = service.as_("registrar")
    yield registrar, "PUT", f"/v1/institutions/{new_brin()}", INSTITUTION
    yield registrar, "POST", f"/v1/institutions/{another}/suspension", {"reason": "other", "note": "n"}
    yield institution, "POST", "/v1/modules", module_body(reference="X")
    yield institution, "POST", f"/v1/modules/{badge['moduleId']}/versions", module_body(name="X")
    yield institution, "POST", f"/v1/modules/{badge['moduleId']}/withdrawal", {"from": "2099-01-01"}
    yield institution, "POST", "/v1/badges", award_body()
    own = {"eduId": award_body()["learner"]["eduId"]}
    yield institution, "POST", f"/v1/learner-lookups?minPosition={badge['position']}", own
    yield institution, "POST", f"/v1/badges/{badge['id']}/suspension", {"reason": "other", "note": "n"}
    yield institution, "POST", f"/v1/badges/{badge['id']}/revocation", {"reason": "other", "note": "n"}


@pytest.fixture(scope="module")
def calls(shared_service: Service) -> list[Call]:
    """Calls of which none may change anything."""
    return list(writes(shared_service))


def sent(ask: Ask, method: str, path: str, content: Any) -> Any:
    return ask(method, path, content=content, headers=JSON)


NO_JSON = {
    "nothing but space": b" ",
    "a word": b"reason",
    "cut off": b'{"reason": "other"',
    "two values": b"{} {}",
    "a comma too many": b'{"reason": "other",}',
    "single quotes": b"{'reason': 'other'}",
    "a comment": b'{/* why */"reason": "other"}',
    "invalid UTF-8": b'{"reason": "\xff\xfe"}',
    "an overlong form": b'{"reason": "\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"reason": "\xed\xa0\x80"}',
    "UTF-16": '{"reason": "other"}'.encode("utf-16"),
    "a byte order mark alone": b"\xef\xbb\xbf",
    "two byte order marks": b'\xef\xbb\xbf\xef\xbb\xbf{"reason": "other"}',
    "a raw control character": b'{"reason": "a\x00b"}',
    "a raw line feed": b'{"note": "a\nb"}',
    "arrays, 10,000 deep": b"[" * 10_000 + b"]" * 10_000,
    "objects, 10,000 deep": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "100,000 open brackets": b"[" * 100_000,
    "a member nested 500 deep": b'{"reason":' + b"[" * 500 + b"]" * 500 + b"}",
    "a number of 100,000 digits": b'{"reason":' + b"9" * 100_000 + b"}",
    "a fraction of 100,000 digits": b'{"reason":0.' + b"9" * 100_000 + b"}",
    "a number beyond any": b'{"reason":1e400}',
    "an exponent beyond any": b'{"reason":1e9999999999999999999}',
    "NaN": b'{"reason":NaN}',
    "an unknown member": b'{"reason":"other","constructor":{}}',
    "a duplicate": b'{"reason":"other","reason":"other"}',
    "an escaped duplicate": b'{"reason":"other","\\u0072eason":"other"}',
    "a lone surrogate": b'{"reason":"other","note":"\\ud800"}',
    "surrogates in the wrong order": b'{"reason":"other","note":"\\udc00\\ud800"}',
    "a lone surrogate in a name": b'{"reason":"other","\\udfff":1}',
    "NUL in a name": b'{"reason":"other","a\\u0000":1}',
    "an array": b"[]",
    "an array of the right thing": b'[{"reason":"other"}]',
    "a text": b'"other"',
    "a number": b"1",
    "true": b"true",
    "null": b"null",
}


@pytest.mark.parametrize("content", NO_JSON.values(), ids=NO_JSON.keys())
def test_no_call_takes_a_body_that_is_no_strict_json(
    shared_service: Service, calls: list[Call], content: bytes
) -> None:
    with nothing_recorded(shared_service):
        for ask, method, path, _ in calls:
            refused(sent(ask, method, path, content), 400, "invalid-input")


def test_an_empty_body_is_refused_but_for_a_withdrawal_from_today(shared_service: Service) -> None:
    for ask, method, path, _ in writes(shared_service):
        if path.endswith("/withdrawal"):
            ok(ask(method, path))
        else:
            with nothing_recorded(shared_service):
                refused(sent(ask, method, path, b""), 400, "invalid-input")


@pytest.mark.parametrize(
    "media_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/xml", "application/json5", "json", ""],
)
def test_another_media_type_is_refused(shared_service: Service, calls: list[Call], media_type: str) -> None:
    with nothing_recorded(shared_service):
        for ask, method, path, body in calls:
            content = json.dumps(body).encode()
            answer = ask(method, path, content=content, headers={"Content-Type": media_type})
            refused(answer, 415, "media-type")


def test_a_byte_order_mark_before_a_body_is_skipped(shared_service: Service) -> None:
    for ask, method, path, body in writes(shared_service):
        answer = sent(ask, method, path, codecs.BOM_UTF8 + json.dumps(body).encode())
        assert answer.status_code in {200, 201}, answer.text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_body_in_utf_16_is_refused_in_a_sentence_that_names_it(
    shared_service: Service, calls: list[Call], encoding: str
) -> None:
    with nothing_recorded(shared_service):
        for ask, method, path, body in calls:
            answer = sent(ask, method, path, json.dumps(body).encode(encoding))
            assert wrong(answer, "") == {"": "is UTF-16; send it as UTF-8"}


@pytest.mark.parametrize(
    "media_type", ["application/json; charset=utf-8", "Application/JSON", "application/json ;x=y"]
)
def test_json_is_taken_with_parameters_and_in_any_case(shared_service: Service, media_type: str) -> None:
    for ask, method, path, body in writes(shared_service):
        answer = ask(method, path, content=json.dumps(body), headers={"Content-Type": media_type})
        assert answer.status_code in {200, 201}, answer.text


@pytest.mark.parametrize("place", ["learner", "evidence/0"])
def test_a_duplicate_is_refused_wherever_it_stands(shared_service: Service, hbo: Ask, place: str) -> None:
    name = {"learner": "name", "evidence/0": "url"}[place]
    content = json.dumps(award_body()).replace(f'"{name}":', f'"{name}": "x", "{name}":', 1)
    with nothing_recorded(shared_service):
        wrong(sent(hbo, "POST", "/v1/badges", content), "")


FORBIDDEN = ["\x00", "\x01", "\x07", "\x0b", "\x1b", "\x7f", "\x85", "\x9f"]
BIDI = ["\u061c", "\u200e", "\u200f", "\u202a", "\u202b", "\u202c", "\u202d", "\u202e"]
BIDI += ["\u2066", "\u2067", "\u2068", "\u2069"]
SURROGATES = [chr(0xD800), chr(0xDFFF)]
ONE_LINE = {"/reference", "/grade", "/learner/eduId", "/learner/name", "/evidence/0/name", "/evidence/0/url"}
TEXTS = {"/evidence/0/narrative", "/evidence/0/description"}


def _award_with(character: str) -> bytes:
    text = f"a{character}b"
    body = award_body(
        reference=text,
        grade=text,
        learner={"eduId": text, "name": text, "email": f"{text}@example.org"},
        evidence=[{"url": f"https://{text}", "name": text, "narrative": text, "description": text}],
    )
    return json.dumps(body).encode()  # characters beyond ASCII are escaped


@pytest.mark.parametrize("character", [*FORBIDDEN, *BIDI, *SURROGATES], ids=ascii)
def test_no_member_takes_control_bidirectional_or_surrogate_characters(
    shared_service: Service, hbo: Ask, character: str
) -> None:
    with nothing_recorded(shared_service):
        answer = sent(hbo, "POST", "/v1/badges", _award_with(character))
        found = {each["pointer"] for each in refused(answer, 400, "invalid-input")["errors"]}
        assert found >= ONE_LINE | TEXTS | {"/learner/email"}


@pytest.mark.parametrize("character", ["\n", "\t", "\r\n"], ids=ascii)
def test_line_feeds_and_tabs_are_for_texts_only(shared_service: Service, hbo: Ask, character: str) -> None:
    with nothing_recorded(shared_service):
        answer = sent(hbo, "POST", "/v1/badges", _award_with(character))
        found = {each["pointer"] for each in refused(answer, 400, "invalid-input")["errors"]}
        assert found >= ONE_LINE
        assert found.isdisjoint(TEXTS)


def test_a_line_ends_in_one_way(shared_service: Service) -> None:
    _, institution = admitted(shared_service)
    text, stored = "een\r\ntwee\n\tdrie\r\n", "een\ntwee\n\tdrie\n"
    module = module_body(reference="REGELS", description=text, learningOutcomes=[text])
    module_id = ok(institution("POST", "/v1/modules", module), 201)["id"]
    badge = awarded(institution, moduleReference="REGELS", evidence=[{"narrative": text}])
    path = f"/v1/badges/{badge['id']}"
    position = ok(institution("POST", f"{path}/suspension", {"reason": "other", "note": text}))["position"]
    found = ok(institution("GET", path, params={"minPosition": position}))
    assert found["evidence"] == [{"narrative": stored}]
    assert found["suspension"]["note"] == stored
    shared_service.settle()
    shown = ok(shared_service.client.get(f"/v1/modules/{module_id}"))
    assert (shown["description"], shown["learningOutcomes"]) == (stored, [stored])
    with nothing_recorded(shared_service):
        ok(institution("POST", "/v1/modules", module | {"description": stored}))


def test_a_carriage_return_alone_is_a_control_character(shared_service: Service, hbo: Ask) -> None:
    with nothing_recorded(shared_service):
        wrong(hbo("POST", "/v1/modules", module_body(description="a\rb")), "/description")


def test_emoji_and_other_scripts_are_taken_as_they_are(hbo: Ask) -> None:
    name = "Ἑλένη 山田 👩🏽\u200d🎓 Ñandú"
    badge = awarded(hbo, learner={"eduId": "scripts", "name": name})
    found = ok(hbo("GET", f"/v1/badges/{badge['id']}", params={"minPosition": badge["position"]}))
    assert found["learner"]["name"] == name


def test_a_body_over_one_mebibyte_is_too_large(shared_service: Service) -> None:
    for ask, method, path, body in writes(shared_service):
        content = json.dumps(body).encode()
        with nothing_recorded(shared_service):
            over = content + b" " * (LARGEST + 1 - len(content))
            refused(sent(ask, method, path, over), 413, "too-large")
        assert sent(ask, method, path, content + b" " * (LARGEST - len(content))).status_code in {200, 201}


@pytest.mark.parametrize("length", ["Transfer-Encoding: chunked", f"Content-Length: {10 * LARGEST}"])
def test_a_body_is_counted_while_it_comes_in(shared_service: Service, length: str) -> None:
    """The refusal comes after what is too much, and waits for no end of the body."""
    token = shared_service.token("institution", institution="27UM")
    head = (
        "POST /v1/badges HTTP/1.1\r\nHost: registry\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {token}\r\n{length}\r\n\r\n"
    )
    part = b" " * 65_536
    framed = b"%x\r\n%b\r\n" % (len(part), part) if "chunked" in length else part
    with on_a_socket(shared_service) as address, nothing_recorded(shared_service):
        with socket.create_connection(address, timeout=60) as connection:
            connection.sendall(head.encode())
            for _ in range(LARGEST // len(part) + 1):
                connection.sendall(framed)
            answer = connection.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 413 "), answer[:200]
        assert b"api-version" in answer.lower()

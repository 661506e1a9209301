"""One message, one meaning: what a proxy may read in another way than the service is refused."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPResponse
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.http.strict import objection
from registry.logs import OncePerSecond
from tests.api.asking import API_VERSION, UNKNOWN_ID, Ask, admitted, award_body, nothing_recorded, on_a_socket
from tests.api.test_routes_and_roles import ROUTES
from tests.support import Service

Send = Callable[..., tuple[HTTPResponse, bytes]]


@pytest.fixture(scope="module")
def address(shared_service: Service) -> Iterator[tuple[str, int]]:
    with on_a_socket(shared_service) as found:
        yield found


@pytest.fixture(scope="module")
def send(address: tuple[str, int]) -> Send:
    """Sends these bytes, each part by itself, and reads one answer."""

    def sent(*parts: bytes) -> tuple[HTTPResponse, bytes]:
        with closing(socket.create_connection(address, timeout=60)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for part in parts:
                connection.sendall(part)
                time.sleep(0.05 if len(parts) > 1 else 0)
            answer = HTTPResponse(connection)
            answer.begin()
            return answer, answer.read()

    return sent


@pytest.fixture(scope="module")
def token(shared_service: Service) -> str:
    brin, _ = admitted(shared_service)
    return shared_service.token("institution", institution=brin)


def get(target: str | bytes, *headers: str) -> bytes:
    lines = ["Host: registry", *headers]
    path = target.encode() if isinstance(target, str) else target
    return b"GET " + path + b" HTTP/1.1\r\n" + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


def post(body: bytes, *headers: str, path: str = "/v1/badges") -> bytes:
    lines = ["Host: registry", *headers]
    return (
        f"POST {path} HTTP/1.1\r\n".encode()
        + "".join(f"{line}\r\n" for line in lines).encode()
        + b"\r\n"
        + body
    )


def refused(answer: tuple[HTTPResponse, bytes], status: int, slug: str) -> None:
    """A problem, whole in its form."""
    head, body = answer
    assert head.status == status, body
    assert head.headers["Content-Type"] == "application/problem+json"
    assert head.headers["API-Version"] == API_VERSION
    assert head.headers["Cache-Control"] == "no-store"
    problem = json.loads(body)
    assert (problem["type"], problem["status"]) == (f"/problems/{slug}", status)
    assert {"title", "detail", "instance"} <= set(problem)


@pytest.mark.parametrize("apart", [False, True], ids=["in one packet", "apart"])
@pytest.mark.parametrize("method", ["POST /v1/badges", "POST /v1/badge-batches", "GET /v1/events"])
def test_a_trailer_is_not_a_header(
    shared_service: Service, send: Send, token: str, method: str, apart: bool
) -> None:
    given = shared_service.token("auditor") if "events" in method else token
    media = "application/x-ndjson" if "batches" in method else "application/json"
    body = json.dumps(award_body()).encode() if method.startswith("POST") else b" "
    head = f"{method} HTTP/1.1\r\nHost: r\r\nContent-Type: {media}\r\nTransfer-Encoding: chunked\r\n\r\n"
    parts = [head.encode(), b"%x\r\n%s\r\n" % (len(body), body)]
    parts.append(b"0\r\nAuthorization: Bearer %s\r\n\r\n" % given.encode())
    with nothing_recorded(shared_service):
        refused(send(*parts) if apart else send(b"".join(parts)), 401, "unauthenticated")


@pytest.mark.parametrize("name", ["Authorization", "Content-Type", "Host", "AUTHORIZATION"])
@pytest.mark.parametrize("path", ["/v1/events", "/v1/institutions", "/metrics", "/nothing"])
def test_a_header_with_one_value_is_refused_where_it_is_given_twice(
    shared_service: Service, send: Send, name: str, path: str
) -> None:
    values = {"Host": "registry", "Content-Type": "application/json"}
    value = values.get(name, f"Bearer {shared_service.token('auditor')}")
    lines = [f"{name}: {value}"] * (1 if name == "Host" else 2)
    refused(send(get(path, *lines)), 400, "invalid-input")


def test_a_request_without_a_host_is_refused(send: Send) -> None:
    refused(send(b"GET /v1/institutions HTTP/1.1\r\n\r\n"), 400, "invalid-input")
    assert send(b"GET /v1/institutions HTTP/1.0\r\n\r\n")[0].status == 200


TARGETS = sorted(
    route.removeprefix("GET ")
    .replace("{version}", "1")
    .replace("{slug}", "not-found")
    .replace("{type}", "badge.awarded")
    for route in ROUTES
    if route.startswith("GET ")
)


@pytest.mark.parametrize("path", TARGETS)
def test_a_path_with_something_that_a_proxy_may_read_otherwise_names_nothing(send: Send, path: str) -> None:
    for odd in ("%0A", "%0D", "%00", "%7F", "%ff", "%c0%af", "%ed%a0%80", "%2F", "%2f", "%", "%4", "%zz"):
        refused(send(get(path + odd)), 400, "invalid-input")
    refused(send(get(path.encode() + b"\xff")), 400, "invalid-input")
    refused(send(get(path + "#")), 400, "invalid-input")
    if "/" in path[1:]:
        refused(send(get("/" + path[1:].replace("/", "%2F", 1))), 400, "invalid-input")


@settings(max_examples=150, deadline=None)
@given(
    path=st.sampled_from(TARGETS),
    odd=st.lists(st.tuples(st.integers(0, 60), st.sampled_from("lu")), max_size=8),
    added=st.text(max_size=3),
)
def test_router_and_checker_read_the_same_path(path: str, odd: list[tuple[int, str]], added: str) -> None:
    """However a path is escaped: it has as many parts as the router sees, or the request is refused."""
    raw = path.replace("{", "a").replace("}", "b").encode() + added.encode()
    escaped = [
        bytes([byte]) if byte < 128 and (chr(byte).isalnum() or byte in b"/-._~") else b"%%%02X" % byte
        for byte in raw
    ]
    for place, case in odd:
        if place < len(escaped) and len(escaped[place]) == 1:
            form = b"%%%02x" if case == "l" else b"%%%02X"
            escaped[place] = form % escaped[place][0]
    target = b"".join(escaped)
    scope: dict[str, Any] = {
        "type": "http",
        "raw_path": target,
        "path": raw.decode(),
        "query_string": b"",
        "method": "GET",
        "headers": [(b"host", b"r")],
        "http_version": "1.1",
    }
    slashes = target.count(b"/")
    if objection(scope) is not None:
        assert raw.decode().count("/") != slashes or not raw.decode().isprintable()
    else:
        assert raw.decode().count("/") == slashes


def parameters(service: Service) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every path of a GET with each of its query parameters, from the OpenAPI document."""
    for path, item in service.client.get("/v1/openapi.json").json()["paths"].items():
        for parameter in item.get("get", {}).get("parameters", []):
            if parameter["in"] == "query":
                yield path.replace("{version}", "1"), parameter


ODD = {
    "integer": ["1.0", "1_0", "+5", " 5", "5 ", "0x5", "1e1", "-0", "٥", "", "1,0"],
    "number": ["1_0", "+5", " 5", "nan", "inf", ""],
    "boolean": ["1", "0", "yes", "on", "True", "TRUE", "t", " true", ""],
    "date": ["2024-1-1", "20240101", "2024-01-01T00:00:00", "1704067200", " 2024-01-01", "+2024-01-01", ""],
}


def asker(service: Service, path: str) -> Ask:
    """One who may ask there."""
    if "statistics" in path:
        return service.as_("statistician")
    return service.as_("learner", learner_id=UNKNOWN_ID) if path == "/learners/me" else service.as_("auditor")


def test_every_parameter_of_the_document_is_taken_in_one_form(shared_service: Service) -> None:
    checked = set()
    for path, parameter in parameters(shared_service):
        schemas = parameter["schema"].get("anyOf", [parameter["schema"]])
        kinds = {
            schema.get("format") if schema.get("format") in ODD else schema.get("type") for schema in schemas
        }
        for kind in kinds & set(ODD):
            checked.add(kind)
            for value in ODD[kind]:
                ask = asker(shared_service, path)
                answer = ask("GET", f"/v1{path}", params={parameter["name"]: value})
                assert answer.status_code == 400, (path, parameter["name"], value, answer.text)
                pointers = {error["pointer"] for error in answer.json()["errors"]}
                assert pointers == {f"/{parameter['name']}"}
    assert checked >= {"integer", "boolean", "date"}


def test_the_version_in_a_path_is_taken_in_one_form(shared_service: Service) -> None:
    for value in ODD["integer"]:
        if value:
            answer = shared_service.client.get(f"/v1/modules/x/versions/{value}")
            assert answer.status_code == 400, value


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Encoding: gzip", "Content-Type: application/json"],
        ["Content-Encoding: identity, gzip", "Content-Type: application/json"],
        ["Content-Type: application/json; charset=utf-16"],
        ['Content-Type: application/json; charset="latin1"'],
        ["Content-Type: application/json;charset=utf-8;charset=utf-7"],
        ["Content-Type: application/json; CHARSET=iso-8859-1"],
    ],
)
@pytest.mark.parametrize(
    "path", ["/v1/badges", "/v1/modules", "/v1/badge-batches", "/v1/badge-revocations", "/nothing"]
)
def test_a_coded_body_is_refused(
    shared_service: Service, send: Send, token: str, path: str, headers: list[str]
) -> None:
    body = json.dumps(award_body()).encode()
    lines = [f"Authorization: Bearer {token}", f"Content-Length: {len(body)}", *headers]
    if "batches" in path or "revocations" in path:
        lines = [line.replace("application/json", "application/x-ndjson") for line in lines]
    with nothing_recorded(shared_service):
        refused(send(post(body, *lines, path=path)), 415, "coding")


@pytest.mark.parametrize(
    "coding", ["gzip, chunked", "identity, chunked", "chunked, chunked", "deflate, chunked"]
)
def test_a_transfer_coding_but_chunked_is_refused(
    shared_service: Service, send: Send, token: str, coding: str
) -> None:
    body = json.dumps(award_body()).encode()
    lines = [
        "Content-Type: application/json",
        f"Authorization: Bearer {token}",
        f"Transfer-Encoding: {coding}",
    ]
    with nothing_recorded(shared_service):
        head, _ = send(post(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body), *lines))
    assert head.status in {400, 415}


def test_a_plain_charset_and_chunks_are_taken(shared_service: Service, send: Send, token: str) -> None:
    for charset in ("utf-8", "UTF-8", '"utf-8"'):
        body = json.dumps(award_body()).encode()
        lines = [f"Content-Type: application/json; charset={charset}", f"Authorization: Bearer {token}"]
        head, text = send(
            post(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body), *lines, "Transfer-Encoding: chunked")
        )
        assert head.status == 201, text


@pytest.mark.parametrize("value", ["%ff", "%ed%a0%80", "%c0%af", "%", "%4", "%zz", "a%"])
def test_a_query_that_is_no_utf_8_is_refused_on_every_path(send: Send, value: str) -> None:
    for path in (
        "/v1/modules?reference=",
        "/v1/institutions?x&",
        "/health/live?",
        "/metrics?a=",
        "/nothing?",
    ):
        refused(send(get(path + value)), 400, "invalid-input")


JUNK = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello",
    b"junk\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /a b HTTP/1.1\r\nHost: r\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : r\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: r\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"GET / HTTP/1.1\r\nHost: r\r\nContent-Length: +1\r\n\r\na",
    b"POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"CONNECT registry:443 HTTP/1.1\r\nHost: r\r\n\r\n",
]


@pytest.mark.parametrize("junk", JUNK)
def test_what_is_no_request_is_answered_with_a_problem(send: Send, junk: bytes) -> None:
    refused(send(junk), 400, "invalid-input")


def test_junk_fills_no_log(send: Send, caplog: pytest.LogCaptureFixture) -> None:
    began = time.monotonic()
    with caplog.at_level(logging.INFO), caplog.filtering(OncePerSecond()):  # as the log of a process has it
        while time.monotonic() < began + 2.5:
            refused(send(JUNK[1]), 400, "invalid-input")
    seconds = time.monotonic() - began
    assert 1 <= len(caplog.records) <= seconds + 2

"""Bulk on a real connection: broken halfway, in small pieces, and by clients that read only at the end."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from http.client import HTTPResponse
from typing import Any

import pytest

from api.commands.batches import MAX_BATCHES, MAX_BATCHES_OF_TOKEN
from api.http.ndjson import MAX_BATCH, MAX_LINE, MAX_LINES
from tests.api.asking import Ask, admitted, award_body, last_position, on_a_socket, refused
from tests.api.test_batches import AWARDS, NDJSON, REVOCATIONS, ndjson, outcomes, sent
from tests.postgres.log import until
from tests.support import PATIENCE_SECONDS, Service

Address = tuple[str, int]


@pytest.fixture
def address(shared_service: Service) -> Iterator[Address]:
    with on_a_socket(shared_service) as found:
        yield found


def connected(address: Address) -> Any:
    return closing(socket.create_connection(address, timeout=60))


def head(length: int | None, token: str, media_type: str = NDJSON) -> bytes:
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return (
        f"POST {AWARDS} HTTP/1.1\r\nHost: registry\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: {media_type}\r\n{size}\r\n\r\n"
    ).encode()


def chunked(parts: Iterable[bytes]) -> Iterator[bytes]:
    for part in parts:
        yield b"%x\r\n%s\r\n" % (len(part), part)
    yield b"0\r\n\r\n"


def answered(connection: socket.socket) -> tuple[HTTPResponse, list[dict[str, Any]]]:
    """The answer, read whole, and its lines."""
    answer = HTTPResponse(connection)
    answer.begin()
    return answer, [json.loads(line) for line in answer.read().splitlines()]


def token_of(service: Service) -> tuple[str, Ask]:
    """A new institution's token, and its asking function."""
    brin, ask = admitted(service)
    return service.token("institution", institution=brin), ask


def quiet(service: Service) -> int:
    """The last position, once nothing is recorded any more."""
    before, now = -1, last_position(service)
    while before != now:
        time.sleep(0.3)
        before, now = now, last_position(service)
    return now


@pytest.mark.parametrize("whole", [True, False], ids=["with a length", "in chunks"])
def test_a_broken_connection_leaves_whole_lines_and_the_whole_sent_again_completes_it(
    shared_service: Service, address: Address, whole: bool, caplog: pytest.LogCaptureFixture
) -> None:
    token, ask = token_of(shared_service)
    lines = [award_body() for _ in range(3_000)]
    body, before = ndjson(*lines), last_position(shared_service)
    with connected(address) as connection, caplog.at_level(logging.WARNING):
        connection.sendall(head(len(body) if whole else None, token))
        part = body[: len(body) * 3 // 4 + 17]
        connection.sendall(part if whole else next(chunked([part])))
        while last_position(shared_service) < before + 1_000:
            time.sleep(0.02)
        connection.shutdown(socket.SHUT_RDWR)
    recorded = quiet(shared_service) - before
    assert 1_000 <= recorded <= part.count(b"\n")
    assert [each.message for each in caplog.records] == [], "no defect of ours"
    found = outcomes(sent(ask, body))
    assert [each["outcome"] for each in found] == ["known"] * recorded + ["awarded"] * (3_000 - recorded)
    assert sorted(each["position"] for each in found) == list(range(before + 1, before + 3_001))


def test_a_body_that_breaks_off_is_no_defect_whatever_the_call(
    shared_service: Service, address: Address, caplog: pytest.LogCaptureFixture
) -> None:
    token, _ = token_of(shared_service)
    calls = {AWARDS: NDJSON, "/v1/badges": "application/json", "/v1/modules": "application/json"}
    with caplog.at_level(logging.INFO, "registry.api"):
        for path, media_type in calls.items():
            with connected(address) as connection:
                connection.sendall(
                    head(1_000, token, media_type).replace(AWARDS.encode(), path.encode()) + b"{"
                )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(caplog.records) < len(calls) and time.monotonic() < deadline:
            time.sleep(0.02)
    assert [(each.levelname, each.message) for each in caplog.records] == [("INFO", "ClientDisconnect")] * 3


def test_a_body_in_the_smallest_pieces_is_the_same_body(shared_service: Service, address: Address) -> None:
    token, _ = token_of(shared_service)
    lines = [award_body() for _ in range(2)]
    body = b"\r\n".join(json.dumps(line, ensure_ascii=False).encode() for line in lines)
    with connected(address) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(head(None, token))
        for piece in chunked(body[place : place + 1] for place in range(len(body))):
            connection.sendall(piece)
        answer, found = answered(connection)
    assert answer.status == 200
    assert answer.headers["API-Version"]
    assert [each["outcome"] for each in found] == ["awarded"] * 2


def test_a_client_that_sends_everything_before_it_reads_does_not_hang(
    shared_service: Service, address: Address
) -> None:
    token, _ = token_of(shared_service)
    body = ndjson(*(award_body() for _ in range(20_000)))
    with connected(address) as connection:
        connection.sendall(head(len(body), token) + body)
        time.sleep(0.5)
        answer, found = answered(connection)
    assert answer.status == 200
    assert [each["line"] for each in found] == list(range(1, 20_001))
    assert {each["outcome"] for each in found} == {"awarded"}


@pytest.mark.parametrize(
    ("media_type", "known", "status"), [("text/plain", True, 415), (NDJSON, False, 401)], ids=["415", "401"]
)
def test_who_is_refused_at_once_still_gets_the_answer_after_sending_everything(
    shared_service: Service, address: Address, media_type: str, known: bool, status: int
) -> None:
    token, _ = token_of(shared_service)
    body = b"{}\n" * 10_000_000
    with connected(address) as connection:
        connection.sendall(head(len(body), token if known else "mcr_none_none", media_type) + body)
        answer, _ = answered(connection)
    assert answer.status == status


@pytest.mark.slow
def test_past_256_mib_reading_ends_and_what_was_recorded_stands(
    shared_service: Service, address: Address
) -> None:
    token, ask = token_of(shared_service)
    good, blank = ndjson(*(award_body() for _ in range(3))), b" " * (MAX_LINE - 1) + b"\n"
    before = last_position(shared_service)
    times = (MAX_BATCH - len(good)) // len(blank)
    for more, status in ((0, 200), (2, 413)):
        with connected(address) as connection:
            connection.sendall(head(len(good) + (times + more) * len(blank), token) + good)
            for _ in range(times + more):
                connection.sendall(blank)
            answer, found = answered(connection)
        assert answer.status == status
        assert len(found) == (times + 3 if status == 200 else 1)
    assert f"at most {MAX_BATCH} bytes" in found[0]["detail"]
    assert last_position(shared_service) == before + 3
    assert {each["outcome"] for each in outcomes(sent(ask, good))} == {"known"}


@pytest.mark.slow
def test_past_the_last_line_a_client_that_goes_on_sending_is_answered_413(
    shared_service: Service, address: Address
) -> None:
    token, _ = token_of(shared_service)
    lines = MAX_LINES + 2_000_000
    with connected(address) as connection:
        connection.sendall(head(lines * 3, token) + b"{}\n" * lines)
        answer, found = answered(connection)
    assert (answer.status, found[0]["type"]) == (413, "/problems/too-large")


def test_a_third_batch_of_a_token_and_a_ninth_of_all_are_refused_before_they_are_read(
    shared_service: Service, address: Address
) -> None:
    brin, _ = admitted(shared_service)
    tokens = [shared_service.token("institution", institution=brin) for _ in range(MAX_BATCHES)]

    app: Any = shared_service.client.app
    places = app.state.writing.batches

    def ask(token: str, path: str = AWARDS) -> Any:
        headers = {"Content-Type": NDJSON, "Authorization": f"Bearer {token}"}
        return shared_service.client.post(path, content=b"1\n", headers=headers)

    with ExitStack() as stack:
        for token in (*[tokens[0]] * MAX_BATCHES_OF_TOKEN, *tokens[1 : MAX_BATCHES - MAX_BATCHES_OF_TOKEN]):
            stack.enter_context(connected(address)).sendall(head(100, token) + b"1\n")
        # A request that asks would take one of the places itself.
        until(lambda: places.taken == MAX_BATCHES - 1)
        refused(ask(tokens[0]), 429, "too-many-requests")
        refused(ask(tokens[0], REVOCATIONS), 429, "too-many-requests")
        stack.enter_context(connected(address)).sendall(head(100, tokens[-2]) + b"1\n")
        until(lambda: places.taken == MAX_BATCHES)
        refused(ask(tokens[-1], REVOCATIONS), 503, "not-ready")
        refused(ask("mcr_nobody"), 401, "unauthenticated")
    until(lambda: ask(tokens[0]).status_code == 200)

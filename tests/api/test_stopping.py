"""What who waits still gets when the service stops."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from api.commands.batches import PAGES_AT_ONCE
from api.http import exchange
from api.http.answer_headers import AnswerHeaders
from api.http.exchange import Exchanges
from api.http.problems import add_handlers
from registry.event_store.append import Appended
from registry.event_store.session import Session
from registry.postgres.connections import UnavailableError
from tests.api.asking import admitted, last_position, on_a_socket
from tests.postgres.log import until
from tests.support import Service, award

SCOPE = {
    "type": "http",
    "http_version": "1.0",
    "method": "GET",
    "path": "/v1/modules",
    "headers": [],
    "query_string": b"",
}
Messages = list[dict[str, Any]]


async def _ask(app: Any, sent: Messages, path: str = "/v1/modules") -> None:
    asked = iter([{"type": "http.request"}])

    async def receive() -> dict[str, Any]:
        for message in asked:
            return message
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(dict(message))

    exchanges = Exchanges(app, AnswerHeaders(), lambda *_: None)
    await exchanges({**SCOPE, "path": path, "raw_path": path.encode()}, receive, send)


def test_a_request_that_is_given_up_at_the_end_is_asked_to_come_back() -> None:
    sent: Messages = []

    async def slow(*_: Any) -> None:
        await asyncio.sleep(60)

    async def stop() -> None:
        asked = asyncio.create_task(_ask(slow, sent))
        await asyncio.sleep(0.01)
        asked.cancel()
        await asked

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(stop())
    assert sent[0]["status"] == 503
    assert (b"retry-after", b"2") in sent[0]["headers"]
    assert json.loads(sent[1]["body"])["type"] == "/problems/not-ready"


def test_a_database_lost_in_the_middle_of_an_answer_is_no_defect(caplog: pytest.LogCaptureFixture) -> None:
    """Through the framework, which wraps what it has a handler for."""
    inner, outer = FastAPI(), FastAPI()

    @inner.get("/lines")
    def lines() -> StreamingResponse:
        def broken() -> Iterator[bytes]:
            yield b"one"
            raise UnavailableError("PostgreSQL was lost")

        return StreamingResponse(broken())

    for app in (inner, outer):
        add_handlers(app)
    outer.mount("/v1", inner)
    sent: Messages = []
    asyncio.run(_ask(outer, sent, path="/v1/lines"))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[1]["more_body"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_an_answer_that_stands_still_in_the_middle_is_cut_short(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "ANSWER_SECONDS", 0.2)
    sent: Messages = []
    began = {"type": "http.response.start", "status": 200, "headers": []}
    part = {"type": "http.response.body", "body": b"one", "more_body": True}

    async def stands_still(_: Any, __: Any, send: Any) -> None:
        await send(began)
        for _ in range(3):
            await asyncio.sleep(0.1)
            await send(part)
        await asyncio.sleep(600)

    asyncio.run(asyncio.wait_for(_ask(stands_still, sent), 60))
    assert [message["type"] for message in sent] == ["http.response.start"] + 3 * ["http.response.body"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_an_upload_that_is_broken_off_is_no_defect(
    shared_service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    brin, _ = admitted(shared_service)
    token = shared_service.token("institution", institution=brin)
    for path in ("/v1/badges", "/v1/modules"):
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        with on_a_socket(shared_service) as address, socket.create_connection(address) as connection:
            connection.sendall(head.encode())
            time.sleep(0.2)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_batch_that_is_given_up_is_answered_at_once_and_records_only_what_is_on_its_way(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.admitted()
    token, before = service.token("institution", institution="27UM"), last_position(service)
    appended, held, go_on = Session.append, threading.Event(), threading.Event()

    def waits(session: Session, *arguments: Any) -> Appended:
        held.set()
        go_on.wait(60)
        return appended(session, *arguments)

    monkeypatch.setattr("api.http.ndjson.PAGE", 2)
    monkeypatch.setattr(Session, "append", waits)
    lines = b"".join(json.dumps(award(f"r-{number}")).encode() + b"\n" for number in range(20))
    sent: Messages = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": lines, "more_body": True}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def give_up() -> None:
        headers = [(b"authorization", f"Bearer {token}".encode()), (b"content-type", b"application/x-ndjson")]
        path = "/v1/badge-batches"
        scope = {**SCOPE, "method": "POST", "path": path, "raw_path": path.encode(), "headers": headers}
        app: Any = service.client.app
        asked = asyncio.create_task(app({"state": {}, **scope}, receive, send))
        await asyncio.to_thread(held.wait, 60)
        asked.cancel()
        await asyncio.wait([asked], timeout=30)
        assert asked.done(), "the request waits for what it has on its way"
        go_on.set()

    asyncio.run(give_up())
    assert sent[0]["status"] == 503
    until(lambda: last_position(service) >= before + 2)
    again = service.institution()(
        "POST", "/v1/badge-batches", content=lines, headers={"Content-Type": "application/x-ndjson"}
    )
    outcomes = [json.loads(line)["outcome"] for line in again.text.splitlines()]
    pages = [outcomes[line : line + 2] for line in range(0, 20, 2)]
    # Pages on their way are recorded side by side: any may have come before the lines were sent again.
    assert ["known"] * 2 in pages[:PAGES_AT_ONCE]
    assert all(page in (["known"] * 2, ["awarded"] * 2) for page in pages[:PAGES_AT_ONCE])
    assert pages[PAGES_AT_ONCE:] == [["awarded"] * 2] * (10 - PAGES_AT_ONCE)

"""What who waits still gets when the service stops."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from api.problems import Bare500
from registry.postgres import UnavailableError

SCOPE = {"type": "http", "method": "GET", "path": "/v1/modules", "headers": [], "query_string": b""}
Messages = list[dict[str, Any]]


async def _ask(app: Any, sent: Messages) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await Bare500(app)(SCOPE, receive, send)


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
    sent: Messages = []

    async def broken(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise UnavailableError("PostgreSQL was lost")

    asyncio.run(_ask(broken, sent))
    assert [message["type"] for message in sent] == ["http.response.start"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]

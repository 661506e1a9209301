"""The deadline of a request: what it gives up goes on taking its place until it ends."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection, IncompleteRead
from typing import Any

import pytest

from api.app import THREADS
from api.http import exchange
from registry.postgres.connections import connect
from tests.api.asking import on_a_socket, refused
from tests.support import Service

REQUESTS = 3 * THREADS


def workers() -> int:
    """The threads of this process in which requests are answered."""
    return sum(thread.name == "AnyIO worker thread" for thread in threading.enumerate())


@pytest.mark.slow
def test_requests_that_are_given_up_do_not_make_room_for_more_threads(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread goes on until PostgreSQL answers: else there would be one for each request that comes."""
    ask = service.admitted()
    monkeypatch.setattr(exchange, "ANSWER_SECONDS", 0.3)
    before = workers()
    with closing(connect(service.url)) as holder, holder.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE badge IN ACCESS EXCLUSIVE MODE")
        with ThreadPoolExecutor(REQUESTS) as pool:
            asking = [pool.submit(ask, "GET", "/v1/institutions/27UM/badges") for _ in range(REQUESTS)]
            for each in asking:
                refused(each.result(), 503, "not-ready")
        assert 0 < workers() - before <= THREADS
        assert service.client.get("/health/live").status_code == 200


@pytest.mark.parametrize("coding", ["", "gzip"])
def test_an_answer_whose_next_part_does_not_come_is_cut_short_and_gives_back_what_it_holds(
    coding: str, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL stands still for the second page of the log, while its first page is on its way."""
    service.admitted()
    token = service.token("auditor")
    monkeypatch.setattr(exchange, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr("registry.event_store.log.PAGE", 1)
    app = service.client.app
    with closing(connect(service.url)) as holder, holder.cursor() as cursor:

        async def stopped(scope: Any, receive: Any, send: Any) -> None:
            async def stop_then_send(message: Any) -> None:
                if message.get("body"):
                    await asyncio.to_thread(
                        cursor.execute, "BEGIN; LOCK TABLE event IN ACCESS EXCLUSIVE MODE"
                    )
                await send(message)

            await app(scope, receive, stop_then_send)

        with on_a_socket(service, stopped) as address, closing(HTTPConnection(*address)) as connection:
            headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": coding}
            connection.request("GET", "/v1/events", headers=headers)
            answer = connection.getresponse()
            assert answer.status == 200
            with pytest.raises(IncompleteRead) as cut:
                answer.read()
            assert cut.value.partial
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE application_name = 'registry_read' AND wait_event_type = 'Lock'"
            )
            assert cursor.fetchall() == [(1,)], "the client waits no longer, and PostgreSQL still does"
            cursor.execute("ROLLBACK")
    monkeypatch.undo()
    assert len(service.as_("auditor")("GET", "/v1/events").text.splitlines()) == 2

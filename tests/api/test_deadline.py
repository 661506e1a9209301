"""The deadline of a request: what it gives up goes on taking its place until it ends."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from api.app import THREADS
from api.http import exchange
from registry.postgres.connections import connect
from tests.api.asking import refused
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

"""Reads that are shared and wait for PostgreSQL: bounded, and an error of its own for each."""

from __future__ import annotations

import asyncio
import functools
import uuid
from typing import Any

import pytest

from api.http import shared_reads
from api.http.shared_reads import SharedReads
from api.lookups.badges import statuses
from registry.postgres.connections import BusyError, Pool, UnavailableError
from tests.postgres.log import connection


def test_so_many_wait_and_no_more_and_each_has_an_error_of_its_own(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_reads, "MAX_WAITING", 20)

    async def ask(reader: SharedReads[str, Any]) -> list[Any]:
        first = asyncio.create_task(reader.find(str(uuid.uuid4())))
        await asyncio.sleep(0.1)  # its statement is under way, and later ones wait
        waiting = [asyncio.create_task(reader.find(str(uuid.uuid4()))) for _ in range(25)]
        return await asyncio.gather(first, *waiting, return_exceptions=True)

    pool = Pool(url, "registry_read", 1, statement_timeout_ms=2_000)
    with connection(url) as holding, holding.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("LOCK TABLE badge_status IN ACCESS EXCLUSIVE MODE")
        _, *answers = asyncio.run(ask(SharedReads(functools.partial(statuses, pool))))
        cursor.execute("ROLLBACK")
    pool.close()
    errors = [answer for answer in answers if isinstance(answer, UnavailableError)]
    assert len(errors) == 25
    assert len({id(error) for error in errors}) == 25
    assert [isinstance(error, BusyError) for error in errors] == [False] * 20 + [True] * 5

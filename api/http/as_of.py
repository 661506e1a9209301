"""`asOf`: what an auditor asks as it was recorded by a time or a position."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query, Request
from starlette.concurrency import run_in_threadpool

from api.http.auth import authenticate
from api.http.problems import Forbidden
from api.http.reading import reading_of
from registry.domain.errors import InvalidInput
from registry.event_store.log import last_position, position_at, time_of
from registry.postgres.connections import Cursor, Pool

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)
POSITION = re.compile(r"\d{1,18}", re.ASCII)


@dataclass(frozen=True)
class AsOf:
    """All that is recorded through `position`; expiry is judged at `time`."""

    position: int
    time: dt.datetime


async def as_of(
    request: Request,
    asked: Annotated[
        str | None,
        Query(
            alias="asOf",
            max_length=40,
            description="For auditors: a position, or a time (RFC 3339 with offset).",
        ),
    ] = None,
) -> AsOf | None:
    """A dependency: what `asOf` means, once the read model of badges holds it; None without it."""
    if asked is None:
        return None
    principal = await authenticate(request)
    if principal.role != "auditor":
        raise Forbidden("asOf is for auditors.")
    reading = reading_of(request)
    found = await run_in_threadpool(_resolve, reading.pool, asked)
    await reading.positions.wait(["badges"], found.position)
    return found


def _resolve(pool: Pool, asked: str) -> AsOf:
    with pool.cursor() as cursor:
        if POSITION.fullmatch(asked):
            return _at_position(cursor, int(asked))
        if TIME.fullmatch(asked):
            return _at_time(cursor, asked)
    raise InvalidInput(("/asOf", "is neither a position nor a time of RFC 3339 with an offset"))


def _at_position(cursor: Cursor, position: int) -> AsOf:
    if position > last_position(cursor):
        raise InvalidInput(("/asOf", "lies beyond the end of the log"))
    return AsOf(position, time_of(cursor, position))


def _at_time(cursor: Cursor, asked: str) -> AsOf:
    try:
        time = dt.datetime.fromisoformat(asked).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise InvalidInput(("/asOf", "is no time of RFC 3339 with an offset")) from None
    cursor.execute("SELECT clock_timestamp()")
    (now,) = cursor.fetchone() or (time,)
    if time > now:
        raise InvalidInput(("/asOf", "lies in the future"))
    return AsOf(position_at(cursor, time), time)


AsOfParameter = Annotated[AsOf | None, Depends(as_of)]

"""`asOf`: an auditor asks for the state that was recorded by a time or a position."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Query, Request
from starlette.concurrency import run_in_threadpool

from api.http.auth import authenticate
from api.http.problems import Forbidden
from api.http.reading import reading_of
from registry.domain.errors import InvalidInput
from registry.event_store.log import Extent, last_position, position_at, time_of
from registry.postgres.connections import Cursor, Pool

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)
POSITION = re.compile(r"\d{1,18}", re.ASCII)


async def as_of(
    request: Request,
    value: Annotated[
        str | None,
        Query(
            alias="asOf",
            max_length=40,
            description="For auditors: a position, or a time (RFC 3339 with offset; write `+` as `%2B`).",
        ),
    ] = None,
) -> Extent | None:
    """A dependency: the extent that `asOf` names, with the time at which expiry is judged; None without."""
    if value is None:
        return None
    principal = await authenticate(request)
    if principal.role != "auditor":
        raise Forbidden("Only auditors may use asOf.")
    return await run_in_threadpool(_resolve, reading_of(request).pool, value)


def _resolve(pool: Pool, value: str) -> Extent:
    with pool.cursor() as cursor:
        if POSITION.fullmatch(value):
            return _at_position(cursor, int(value))
        if TIME.fullmatch(value):
            return _at_time(cursor, value)
    raise InvalidInput(("/asOf", "must be a position, or a time as 2026-11-26T15:15:10Z; write + as %2B"))


def _at_position(cursor: Cursor, position: int) -> Extent:
    if position > last_position(cursor):
        raise InvalidInput(("/asOf", "must not be beyond the end of the log"))
    return Extent(position, time_of(cursor, position))


def _at_time(cursor: Cursor, value: str) -> Extent:
    try:
        time = dt.datetime.fromisoformat(value).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise InvalidInput(("/asOf", "no such time exists")) from None
    cursor.execute("SELECT clock_timestamp()")
    (now,) = cursor.fetchone() or (time,)
    if time > now:
        raise InvalidInput(("/asOf", "must not be in the future"))
    return Extent(position_at(cursor, time), time)


AsOfParameter = Annotated[Extent | None, Depends(as_of)]


def held_as_of(name: str) -> Callable[..., Awaitable[Extent | None]]:
    """A dependency: the same, once this read model holds it."""

    async def wait(request: Request, moment: AsOfParameter) -> Extent | None:
        if moment is not None:
            await reading_of(request).positions.wait([name], moment.position, "/asOf")
        return moment

    return wait


HeldAsOf = Annotated[Extent | None, Depends(held_as_of("badges"))]
CatalogueAsOf = Annotated[Extent | None, Depends(held_as_of("catalogue"))]

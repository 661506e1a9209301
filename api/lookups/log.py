"""The log, for auditors: every recorded event as it was stored, in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse

from api.http.auth import Allow
from api.http.openapi import answers, answers_lines
from api.http.reading import held_by, reading_of
from api.http.responses import RecordedEvent, extent_headers
from api.lookups.common import MAX_POSITION
from registry.domain.errors import InvalidInput
from registry.domain.events import FACTS
from registry.event_store.log import Extent, LoggedEvent, extent_of, last_position, read_log, read_pages

router = APIRouter(tags=["log"])
MEDIA_TYPE = "application/x-ndjson"
TYPES = sorted({fact.TYPE for fact in FACTS.values()})


@router.get(
    "/events",
    operation_id="listEvents",
    summary="The log after a position, one event a line",
    description=(
        "NDJSON in the order of positions, without gaps if no filter is set. The answer is complete up to the"
        " position in the header `Registry-Position`: send it as `after` to continue. An empty answer is the"
        " last, also with `type`."
    ),
    responses=answers(400, 401, 403) | answers_lines(RecordedEvent, "Events, one a line."),
    response_class=StreamingResponse,
    dependencies=[Depends(Allow("auditor")), Depends(held_by())],
)
def list_events(
    request: Request,
    after: Annotated[int, Query(ge=0, le=MAX_POSITION, description="The position to continue after.")] = 0,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
    kind: Annotated[str | None, Query(alias="type", description="An event type.")] = None,
    subject: Annotated[str | None, Query(max_length=36, description="A BRIN or an id.")] = None,
) -> StreamingResponse:
    if kind is not None and kind not in TYPES:
        raise InvalidInput(("/type", f"must be one of {', '.join(TYPES)}"))
    pool = reading_of(request).pool
    with pool.cursor() as database:
        last = last_position(database)
        if after > last:
            raise InvalidInput(("/after", f"must not be beyond the end of the log, which is {last}"))
        if kind is None and subject is None:
            complete = min(last, after + limit)
            return _stream(read_pages(pool, after, complete), extent_of(database, complete))
        events = read_log(database, after, limit, until=last, kind=kind or "", subject=subject or "")
        complete = events[-1].position if len(events) == limit else last
        return _stream(iter([events]), extent_of(database, complete))


def _stream(pages: Iterator[list[LoggedEvent]], extent: Extent) -> StreamingResponse:
    lines = (b"".join(event.line() for event in page) for page in pages)
    return StreamingResponse(lines, media_type=MEDIA_TYPE, headers=extent_headers(extent))

"""The log, for auditors: every recorded event as it was stored, in order."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator

from api.http.auth import Allow
from api.http.openapi import EVENT_TYPES, answers, answers_lines
from api.http.reading import held_by, reading_of
from api.http.responses import RecordedEvent, extent_headers
from api.lookups.common import MAX_POSITION
from registry.domain.errors import InvalidInput
from registry.domain.values import lower_uuid
from registry.event_store.log import Extent, LoggedEvent, extent_of, last_of, last_position, read_pages

router = APIRouter(tags=["log"])
MEDIA_TYPE = "application/x-ndjson"
# Hashes hardly compress: level 1 makes two sevenths of the log at 150 MB/s, level 6 a quarter at 60 MB/s.
GZIP_LEVEL = 1
# `gzip` or `*`, unless its weight is 0.
_GZIP = re.compile(r"(?:^|,)\s*(?:gzip|\*)\s*(?:;\s*q=(?!0(?:\.0*)?\s*(?:,|$))|,|$)", re.IGNORECASE)


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
    kind: Annotated[
        str | None, Query(alias="type", description="An event type.", json_schema_extra={"enum": EVENT_TYPES})
    ] = None,
    subject: Annotated[
        Annotated[str, AfterValidator(lower_uuid)] | None,
        Query(max_length=36, description="A BRIN or an id."),
    ] = None,
) -> StreamingResponse:
    if kind is not None and kind not in EVENT_TYPES:
        raise InvalidInput(("/type", f"must be one of {', '.join(EVENT_TYPES)}"))
    pool = reading_of(request).pool
    with pool.cursor() as database:
        last = last_position(database)
        if after > last:
            raise InvalidInput(("/after", f"must not be beyond the end of the log, which is {last}"))
        filters = {"kind": kind or "", "subject": subject or ""}
        if kind is None and subject is None:
            complete = min(last, after + limit)
        else:
            complete = last_of(database, after, limit, until=last, **filters)
        return _stream(request, read_pages(pool, after, complete, **filters), extent_of(database, complete))


def _stream(request: Request, pages: Iterator[list[LoggedEvent]], extent: Extent) -> StreamingResponse:
    lines: Iterator[bytes] = (b"".join(event.line() for event in page) for page in pages)
    headers = extent_headers(extent) | {"Vary": "Accept-Encoding"}
    if _GZIP.search(request.headers.get("accept-encoding", "")):
        lines, headers["Content-Encoding"] = _gzipped(lines), "gzip"
    return StreamingResponse(lines, media_type=MEDIA_TYPE, headers=headers)


def _gzipped(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Runs in a worker thread, a page at a time, like the reading of the pages itself."""
    packer = zlib.compressobj(GZIP_LEVEL, wbits=zlib.MAX_WBITS | 16)
    for part in parts:
        yield packer.compress(part)
    yield packer.flush()

"""The schemas of events, for anyone: what the `dataschema` of an event names."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Request, Response

from api.http.entity_tags import Tagged
from api.http.openapi import EVENT_TYPES, answers
from api.http.problems import NotFound
from registry.domain.event_schemas import event_schema

router = APIRouter(tags=["log"])
MEDIA_TYPE = "application/schema+json"
_SCHEMA: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A JSON Schema (draft 2020-12) of the event's `data`.",
        "content": {MEDIA_TYPE: {"schema": {"type": "object", "additionalProperties": True}}},
    }
}


@router.get(
    "/schemas/events/{type}/{version}",
    operation_id="getEventSchema",
    summary="The schema of an event type, in one of its versions",
    responses=answers(304, 400, 404) | _SCHEMA,
    response_class=Response,
)
def get_event_schema(
    request: Request,
    kind: Annotated[
        str, Path(alias="type", description="An event type.", json_schema_extra={"enum": EVENT_TYPES})
    ],
    version: Annotated[int, Path(ge=1, le=1_000, description="The version of the schema, from 1.")],
) -> Response:
    try:
        schema = event_schema(f"{kind}/{version}")
    except KeyError:
        raise NotFound("event schema") from None
    return Tagged(msgspec.json.encode(schema), media_type=MEDIA_TYPE).answer(request)

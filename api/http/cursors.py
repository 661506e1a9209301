"""Opaque cursors: the place of the last item of a page, after which the next page begins.

A cursor belongs to one list with its filters: elsewhere its place would skip items that were never shown.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

import msgspec
from fastapi import Query, Request

from registry.domain.errors import InvalidInput

Limit = Annotated[int, Query(ge=1, le=500, description="The maximum number of items in an answer.")]
CursorParameter = Annotated[
    str | None,
    Query(
        max_length=100,
        description="The `next` of the answer before, with the same filters; opaque.",
        alias="cursor",
    ),
]

Row = TypeVar("Row")
PLACE = re.compile(r"[!-~]+")
_OF_A_PAGE = frozenset({"cursor", "limit", "minPosition"})
POSITION = re.compile(r"[0-9]{1,18}", re.ASCII)


def list_of(request: Request) -> str:
    """Which list a request asks for: a digest of its path and its filters, as they were sent."""
    filters = sorted(item for item in request.query_params.multi_items() if item[0] not in _OF_A_PAGE)
    return list_at(request.scope["path"], *filters)


def list_at(path: str, *filters: tuple[str, str]) -> str:
    return hashlib.sha256(msgspec.json.encode([path, *filters])).hexdigest()[:16]


def encode(asked: str, place: str | int) -> str:
    """The cursor of a place in the list `asked`."""
    return base64.urlsafe_b64encode(f"{asked}:{place}".encode()).decode().rstrip("=")


def decode(asked: str, cursor: str, form: re.Pattern[str] = PLACE) -> str:
    """The place, of this form, in a cursor of the list `asked`; any other text is refused."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    of, _, place = text.partition(":")
    if of != asked or not form.fullmatch(place) or encode(asked, place) != cursor:
        raise InvalidInput(("/cursor", "must be the `next` of this list, asked with the same filters"))
    return place


def decode_position(asked: str, cursor: str | None, first: int) -> int:
    """The position in a cursor, or `first` without one."""
    if cursor is None:
        return first
    return int(decode(asked, cursor, POSITION))


def page(
    asked: str, rows: Sequence[Row], limit: int, place: Callable[[Row], str | int]
) -> tuple[list[Row], str | None]:
    """The rows of a page and its `next`; `rows` holds one row more than the limit if more follow."""
    shown = list(rows[:limit])
    return shown, encode(asked, place(shown[-1])) if len(rows) > limit else None

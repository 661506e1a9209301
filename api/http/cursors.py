"""Opaque cursors: the place of the last item of a page, after which the next page begins."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import Query

from registry.domain.errors import InvalidInput

Limit = Annotated[int, Query(ge=1, le=500, description="The maximum number of items in an answer.")]
CursorParameter = Annotated[
    str | None, Query(max_length=100, description="The `next` of the answer before; opaque.", alias="cursor")
]

Row = TypeVar("Row")
PLACE = re.compile(r"[!-~]+")
POSITION = re.compile(r"[0-9]{1,18}", re.ASCII)


def encode(kind: str, place: str | int) -> str:
    return base64.urlsafe_b64encode(f"{kind}:{place}".encode()).decode().rstrip("=")


def decode(kind: str, cursor: str, form: re.Pattern[str] = PLACE) -> str:
    """The place, of this form, in a cursor of this kind of list; any other text is refused."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    prefix, _, place = text.partition(":")
    if prefix != kind or not form.fullmatch(place) or encode(kind, place) != cursor:
        raise InvalidInput(("/cursor", "must be the `next` of this list"))
    return place


def decode_position(kind: str, cursor: str | None, first: int) -> int:
    """The position in a cursor, or `first` without one."""
    if cursor is None:
        return first
    return int(decode(kind, cursor, POSITION))


def page(
    kind: str, rows: Sequence[Row], limit: int, place: Callable[[Row], str | int]
) -> tuple[list[Row], str | None]:
    """The rows of a page and its `next`; `rows` holds one row more than the limit if more follow."""
    shown = list(rows[:limit])
    return shown, encode(kind, place(shown[-1])) if len(rows) > limit else None

"""Reads members of foreign JSON: each function returns a value only where it is of the right kind."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator
from typing import Any

from registry.domain import values
from registry.domain.private_parts import MAX_EVIDENCE, Evidence
from registry.edubadges.items import Unreadable

MAX_TEXT = 60_000
"""Characters of a text: more would not fit into an event. What is longer is refused before any work."""
MAX_MEMBERS = 1_000
"""Members of an object: many times what any answer has."""
_DAY_ONLY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def members(value: object) -> dict[str, Any]:
    """The members of an object; none where the value is not one."""
    if not isinstance(value, dict):
        return {}
    if len(value) > MAX_MEMBERS:
        raise Unreadable(f"has an object of more than {MAX_MEMBERS} members")
    return value


def is_stated(value: object) -> bool:
    """Whether a member says anything: one that is null, false or empty does not."""
    return value is not None and value is not False and value not in ("", [], {})


def trimmed(value: object) -> str | None:
    """A text without the ordinary spaces and tabs round it, as spreadsheets leave them; None if empty.

    Nothing else is cut off or left out: the functions of the domain judge the rest.
    """
    return value.strip(" \t") or None if isinstance(value, str) else None


def text(value: object) -> str | None:
    """A text of several lines, trimmed, by the rules of the API; None where it is not a text, or empty.

    Raises `Unreadable` for a text that the API would refuse. Only its length may be greater.
    """
    return _clean(value, values.clean_text)


def line(value: object) -> str | None:
    """The same on one line."""
    return _clean(value, values.clean_line)


def _clean(value: object, clean: Callable[[str, int], str]) -> str | None:
    # Nothing is trimmed before its length is bounded.
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise Unreadable(f"has a text of more than {MAX_TEXT} characters")
    stated = trimmed(value)
    if stated is None:
        return None
    try:
        return clean(stated, MAX_TEXT)
    except ValueError as error:
        raise Unreadable(f"has a text that is not accepted: it {error}") from None


def address(value: object) -> str | None:
    """A web address of up to MAX_TEXT characters; None where the value is not one."""
    if isinstance(value, str) and len(value) > MAX_TEXT:
        return None
    stated = trimmed(value)
    try:
        return None if stated is None else values.web_address(stated, MAX_TEXT)
    except ValueError:
        return None


def long_parts(grade: str | None, evidence: tuple[Evidence, ...] | None) -> Iterator[str]:
    """The findings about private parts that are longer than the API accepts, and kept whole."""
    if len(grade or "") > values.MAX_GRADE:
        yield "grade-long"
    pieces = evidence or ()
    if len(pieces) > MAX_EVIDENCE or any(
        len(part or "") > most
        for piece in pieces
        for part, most in (
            (piece.url, values.MAX_WEB_ADDRESS),
            (piece.name, values.MAX_NAME),
            (piece.narrative, values.MAX_LONG_TEXT),
            (piece.description, values.MAX_LONG_TEXT),
        )
    ):
        yield "evidence-long"


def moment(value: object, member: str) -> dt.datetime | dt.date:
    """A time with its offset from UTC, or a day."""
    try:
        if not isinstance(value, str):
            raise Unreadable(f"{member} must be a date or a time")
        if _DAY_ONLY.fullmatch(value):
            return dt.date.fromisoformat(value)
        time = dt.datetime.fromisoformat(value)
        # Raises OverflowError at the ends of the calendar, where a time may have no day in Amsterdam.
        values.day_in_amsterdam(time)
    except (ValueError, OverflowError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"{member} must be a date or a time") from None
    if time.tzinfo is None:
        raise Unreadable(f"{member} needs an offset from UTC")
    return time


def day(value: object, member: str) -> dt.date:
    """The day in Amsterdam of a time or a day."""
    time = moment(value, member)
    return values.day_in_amsterdam(time) if isinstance(time, dt.datetime) else time


def last_day(value: object, member: str) -> dt.date:
    """The last valid day in Amsterdam of something that expires at a time, or with the end of a day."""
    time = moment(value, member)
    if not isinstance(time, dt.datetime):
        return time
    try:
        return values.day_in_amsterdam(time - dt.timedelta(microseconds=1))
    except OverflowError:
        raise Unreadable(f"{member} must be a date or a time") from None

"""Reads members of foreign JSON: each function returns a value only where it is of the right kind."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from registry.domain import values
from registry.edubadges.items import Unreadable

MAX_TEXT = 60_000
"""Characters of a text: more would not fit into an event. What is longer is refused before any work."""
_ADDRESS = re.compile(r"https?://[^\s/?#]\S*")
_DAY_ONLY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def members(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def text(value: object) -> str | None:
    """A text in NFC, without characters that may not be stored; None where it is not a text, or blank.

    Raises `Unreadable` for a text that is too long, or has too many combining marks.
    """
    if not isinstance(value, str):
        return None
    if len(value) > MAX_TEXT:
        raise Unreadable(f"has a text of more than {MAX_TEXT} characters")
    stripped = values.without_forbidden(value).strip()
    if values.is_blank(stripped):
        return None
    try:
        return values.clean_text(stripped, MAX_TEXT)
    except ValueError as error:
        raise Unreadable(f"has a text that {error}") from None


def line(value: object) -> str | None:
    """The same as `text`, on one line."""
    cleaned = text(value)
    return cleaned and " ".join(cleaned.split())


def trimmed(value: object) -> str | None:
    """A text without the ordinary spaces and tabs round it, as spreadsheets leave them; None if empty.

    Nothing else is cut off: the functions of the domain judge whether the rest is an identifier.
    """
    return value.strip(" \t") or None if isinstance(value, str) else None


def address(value: object) -> str | None:
    """A web address of up to MAX_TEXT characters; None where the value is not one."""
    stated = trimmed(value)
    if stated is None or len(stated) > MAX_TEXT or not _ADDRESS.fullmatch(stated):
        return None
    try:
        return values.reference(stated, MAX_TEXT)
    except ValueError:
        return None


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

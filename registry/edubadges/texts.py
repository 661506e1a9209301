"""Members of foreign JSON: taken when they are what they should be."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from typing import Any

from registry.domain import values
from registry.edubadges.items import Unreadable

_ADDRESS = re.compile(r"https?://[^\s/?#]+\S*")
_DAY_ONLY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def members(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def text(value: object) -> str | None:
    """A text in NFC, without what may not be stored; None where it is none, or empty."""
    if not isinstance(value, str):
        return None
    try:
        cleaned = values.clean_text(value)
    except ValueError:
        cleaned = unicodedata.normalize("NFC", values.without_forbidden(value))
    return cleaned.strip() or None


def line(value: object) -> str | None:
    """The same, on one line."""
    found = text(value)
    return found and " ".join(found.split())


def address(value: object) -> str | None:
    """A web address as it stands, of any length; None where it is none."""
    if not isinstance(value, str) or not values.is_line(value) or not _ADDRESS.fullmatch(value):
        return None
    return values.clean_line(value)


def moment(value: object, member: str) -> dt.datetime | dt.date:
    """A time with its offset, or a day."""
    try:
        if not isinstance(value, str):
            raise Unreadable(f"has no {member} that is a date or a time")
        if _DAY_ONLY.fullmatch(value):
            return dt.date.fromisoformat(value)
        time = dt.datetime.fromisoformat(value)
        # Near the ends of the calendar a time has no day elsewhere.
        values.day_in_amsterdam(time)
    except (ValueError, OverflowError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"has no {member} that is a date or a time") from None
    if time.tzinfo is None:
        raise Unreadable(f"has an {member} without an offset from UTC")
    return time


def day(value: object, member: str) -> dt.date:
    """The day in Amsterdam."""
    found = moment(value, member)
    return values.day_in_amsterdam(found) if isinstance(found, dt.datetime) else found


def last_day(value: object, member: str) -> dt.date:
    """The last day in Amsterdam on which something is valid that expires at a moment, or with a day."""
    found = moment(value, member)
    if not isinstance(found, dt.datetime):
        return found
    try:
        return values.day_in_amsterdam(found - dt.timedelta(microseconds=1))
    except OverflowError:
        raise Unreadable(f"has no {member} that is a date or a time") from None

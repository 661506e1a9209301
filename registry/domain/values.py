"""The values that the registry records: their forms, and its calendar days.

A wrong value raises `ValueError` with one sentence: what it must be, without the value itself.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from decimal import Decimal
from zoneinfo import ZoneInfo

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
FIRST_AWARD_DAY = dt.date(2018, 1, 1)
MAX_NUMBER = 1_000_000

BRIN = re.compile(r"[0-9]{2}[A-Z0-9]{2}", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
# The well-formed tags of BCP 47 (RFC 5646), without grandfathered and private ones.
LANGUAGE = re.compile(
    r"[A-Za-z]{2,3}(-[A-Za-z]{4})?(-([A-Za-z]{2}|[0-9]{3}))?(-([A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*",
    re.ASCII,
)
# Unicode bidirectional formatting characters: they make a text read differently from what is stored.
_BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_FORBIDDEN = re.compile(f"[\x00-\x1f\x7f-\x9f{_BIDI}\u2028\u2029\ud800-\udfff]")
_FORBIDDEN_IN_TEXT = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_BIDI}\u2028\u2029\ud800-\udfff]")
FORBIDDEN_CHARACTERS = "must not contain control, bidirectional or surrogate characters"
_NINE_DIGITS = re.compile(r"[0-9]{9}", re.ASCII)


def is_line(value: object) -> bool:
    """Whether a text is free of control, bidirectional and surrogate characters."""
    return _FORBIDDEN.search(str(value)) is None


def clean_line(value: str) -> str:
    """One line in NFC, without control or bidirectional characters."""
    if _FORBIDDEN.search(value):
        raise ValueError(FORBIDDEN_CHARACTERS)
    return value if value.isascii() else unicodedata.normalize("NFC", value)


def clean_text(value: str) -> str:
    """Lines in NFC: line feeds and tabs are allowed, and CR LF becomes LF."""
    value = value.replace("\r\n", "\n")
    if _FORBIDDEN_IN_TEXT.search(value):
        raise ValueError(FORBIDDEN_CHARACTERS)
    return value if value.isascii() else unicodedata.normalize("NFC", value)


def without_forbidden(value: str) -> str:
    """An imported text without the characters that `clean_text` refuses."""
    return _FORBIDDEN_IN_TEXT.sub("", value.replace("\r\n", "\n"))


def no_citizen_number(value: str) -> str:
    """Refuses exactly nine digits, which may be a Dutch citizen number.

    UAVG article 46 allows such a number to be processed only where a law prescribes it, and none does here.
    """
    if _NINE_DIGITS.fullmatch(value):
        raise ValueError("must not be nine digits, which may be a citizen number; send an eduID")
    return value


def no_citizen_number_before_at(value: str) -> str:
    """Refuses an eppn of which the local part is exactly nine digits."""
    no_citizen_number(value.partition("@")[0])
    return value


def ects(value: object) -> int | float:
    """ECTS credits: a positive multiple of 0.5, an integer when whole. A string is not converted."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError("must be a number of ECTS in halves, as 5 or 2.5")  # noqa: TRY004
    exact = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    if not exact.is_finite() or exact <= 0 or exact > MAX_NUMBER or exact % Decimal("0.5"):
        raise ValueError(f"must be a positive multiple of 0.5, at most {MAX_NUMBER}")
    return int(exact) if exact == int(exact) else float(exact)


def sbu(value: object) -> int:
    """Hours of study (SBU): a positive whole number."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_NUMBER:
        raise ValueError(f"must be a positive whole number of hours, as 240, at most {MAX_NUMBER}")
    return value


def day_in_amsterdam(moment: dt.datetime) -> dt.date:
    """The calendar day in Amsterdam at an aware moment."""
    return moment.astimezone(AMSTERDAM).date()


def midnight_after(day: dt.date) -> dt.datetime:
    """The first moment (UTC) in Amsterdam that is no longer `day`: when an expiry takes effect."""
    if day == dt.date.max:
        return dt.datetime.max.replace(tzinfo=dt.UTC)
    start = dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), AMSTERDAM)
    return start.astimezone(dt.UTC)


def calendar_day(value: str) -> dt.date:
    """A date as `YYYY-MM-DD`; other forms of ISO 8601 are refused."""
    if not _DATE.fullmatch(value):
        raise ValueError("must be a date as YYYY-MM-DD")
    try:
        return dt.date.fromisoformat(value)
    except ValueError:
        raise ValueError("no such date exists") from None


def award_day(value: dt.date, today: dt.date) -> dt.date:
    """`awardedOn`: from 2018-01-01 through today, in Amsterdam."""
    if not FIRST_AWARD_DAY <= value <= today:
        raise ValueError(f"must be a day from {FIRST_AWARD_DAY} through today")
    return value


def iso_time(moment: dt.datetime) -> str:
    """`YYYY-MM-DDTHH:MM:SS.ffffffZ`, always with six decimals."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

"""Values of the field: their shapes, and the days on which the registry reckons.

What is wrong with a value is said in one sentence without the value, by raising `ValueError`.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from decimal import Decimal
from zoneinfo import ZoneInfo

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
FIRST_AWARD_DAY = dt.date(2018, 1, 1)
LARGEST_NUMBER = 1_000_000

BRIN = re.compile(r"[0-9]{2}[A-Z0-9]{2}", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
# BCP 47 (RFC 5646), the well-formed tags without grandfathered and private ones.
LANGUAGE = re.compile(
    r"[A-Za-z]{2,3}(-[A-Za-z]{4})?(-([A-Za-z]{2}|[0-9]{3}))?(-([A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*",
    re.ASCII,
)
# Unicode bidirectional formatting characters: they make a text read otherwise than it is stored.
_BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_FORBIDDEN = re.compile(f"[\x00-\x1f\x7f-\x9f{_BIDI}\u2028\u2029\ud800-\udfff]")
_FORBIDDEN_IN_TEXT = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_BIDI}\u2028\u2029\ud800-\udfff]")
_NINE_DIGITS = re.compile(r"[0-9]{9}", re.ASCII)


def is_line(value: object) -> bool:
    """Whether a text holds no control, bidirectional or surrogate character."""
    return _FORBIDDEN.search(str(value)) is None


def clean_line(value: str) -> str:
    """One line in NFC, without control or bidirectional characters."""
    if _FORBIDDEN.search(value):
        raise ValueError("holds a control, bidirectional or surrogate character; leave it out")
    return value if value.isascii() else unicodedata.normalize("NFC", value)


def clean_text(value: str) -> str:
    """Lines in NFC: line feed and tab are allowed, CR LF becomes LF."""
    value = value.replace("\r\n", "\n")
    if _FORBIDDEN_IN_TEXT.search(value):
        raise ValueError("holds a control, bidirectional or surrogate character; leave it out")
    return value if value.isascii() else unicodedata.normalize("NFC", value)


def without_forbidden(value: str) -> str:
    """The lines of a text that others have written, without the characters that `clean_text` refuses."""
    return _FORBIDDEN_IN_TEXT.sub("", value.replace("\r\n", "\n"))


def no_citizen_number(value: str) -> str:
    """Refuses what may be a Dutch citizen number: exactly nine digits.

    UAVG article 46 lets such a number be processed only where a law prescribes it; none does here.
    """
    if _NINE_DIGITS.fullmatch(value):
        raise ValueError("has nine digits and may be a citizen number, which is never taken; send an eduID")
    return value


def no_citizen_number_before_at(value: str) -> str:
    """The same of the local part of an eppn."""
    no_citizen_number(value.partition("@")[0])
    return value


def ects(value: object) -> int | float:
    """ECTS credits: a positive multiple of 0.5, an integer when whole. Never coerced from text."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError("is no number; ECTS is a number in halves, as 5 or 2.5")  # noqa: TRY004
    exact = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    if not exact.is_finite() or exact <= 0 or exact > LARGEST_NUMBER or exact % Decimal("0.5"):
        raise ValueError(f"is no positive multiple of 0.5 up to {LARGEST_NUMBER}")
    return int(exact) if exact == int(exact) else float(exact)


def sbu(value: object) -> int:
    """Hours of study (SBU): a positive whole number."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= LARGEST_NUMBER:
        raise ValueError(f"is no positive whole number up to {LARGEST_NUMBER}; SBU is hours, as 240")
    return value


def day_in_amsterdam(moment: dt.datetime) -> dt.date:
    """The calendar day there at an aware moment."""
    return moment.astimezone(AMSTERDAM).date()


def midnight_after(day: dt.date) -> dt.datetime:
    """The first moment (UTC) in Amsterdam that is no longer `day`: when an expiry takes effect."""
    if day == dt.date.max:
        return dt.datetime.max.replace(tzinfo=dt.UTC)
    start = dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), AMSTERDAM)
    return start.astimezone(dt.UTC)


def calendar_day(value: str) -> dt.date:
    """A date in its one form, `YYYY-MM-DD`: other forms of ISO 8601 are not taken."""
    if not _DATE.fullmatch(value):
        raise ValueError("is no date of the form YYYY-MM-DD")
    try:
        return dt.date.fromisoformat(value)
    except ValueError:
        raise ValueError("is no date of the calendar") from None


def award_day(value: dt.date, today: dt.date) -> dt.date:
    """`awardedOn`: from 2018-01-01 through today, in Amsterdam."""
    if not FIRST_AWARD_DAY <= value <= today:
        raise ValueError(f"lies outside {FIRST_AWARD_DAY} through today")
    return value


def iso_time(moment: dt.datetime) -> str:
    """`YYYY-MM-DDTHH:MM:SS.ffffffZ`, always with six decimals."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

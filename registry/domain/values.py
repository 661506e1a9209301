"""The values that the registry records: their forms, and its calendar days.

A wrong value raises `ValueError` with one sentence: what it must be, without the value itself.
"""

from __future__ import annotations

import codecs
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
"""A UUID as it is stored and answered; `lower_uuid` brings others into this form."""
UUID_IN_ANY_CASE = re.compile(UUID.pattern.replace("a-f", "A-Fa-f"), re.ASCII)
MAX_LANGUAGE = 35
# The well-formed tags of BCP 47 (RFC 5646), without grandfathered and private ones. They have up to
# MAX_LANGUAGE characters: so many a program must be able to hold (section 4.4.1).
LANGUAGE = re.compile(
    r"[A-Za-z]{2,3}(-[A-Za-z]{4})?(-([A-Za-z]{2}|[0-9]{3}))?(-([A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*",
    re.ASCII,
)
# Unicode bidirectional formatting characters: they make a text read differently from what is stored.
_BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_FORBIDDEN = re.compile(f"[\x00-\x1f\x7f-\x9f{_BIDI}\u2028\u2029\ud800-\udfff]")
_FORBIDDEN_IN_TEXT = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_BIDI}\u2028\u2029\ud800-\udfff]")
FORBIDDEN_CHARACTERS = "must not contain control, bidirectional or surrogate characters"
# Characters that show nothing although Python counts them as printable: the letters and marks among
# Unicode's Default_Ignorable_Code_Point, and the blank of Braille.
_SHOWS_NOTHING = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
MAX_MARKS = 30
"""Combining marks in a row, as in Stream-Safe Text (UAX 15): NFC takes quadratic time over a longer run."""
_MAY_BE_MARKS = re.compile(f"[^\x00-\u02ff]{{{MAX_MARKS + 1}}}")
# Vowel signs that are no marks themselves but consist of two.
_TWO_MARKS = "\u0f73\u0f75\u0f81"
MAX_IDENTIFIER = 200
MAX_REFERENCE = 100
MAX_NAME, MAX_GRADE, MAX_LONG_TEXT, MAX_EMAIL, MAX_WEB_ADDRESS = 255, 100, 4_000, 254, 2_000
"""Characters that the API accepts; an import keeps a longer text and notes it."""
EMAIL = r"^[^@\s]+@[^@\s]+$"
WEB_ADDRESS = r"^https?://[^\s/?#]\S*$"
VISIBLE_ASCII = "!-~"
_IDENTIFIER = re.compile(f"[{VISIBLE_ASCII}]+")
_HASH = re.compile(r"[!-#%-~]+\$[0-9A-Fa-f]+")
# Nine digits with anything but letters and digits round and between them, perhaps after BSN; then the end,
# or an @, after which a domain may follow.
_OTHER = "[^A-Za-z0-9]*"
_CITIZEN_NUMBER = re.compile(
    f"{_OTHER}(?:[Bb]{_OTHER}[Ss]{_OTHER}[Nn]{_OTHER})?(?:[0-9]{_OTHER}){{9}}(?:@|$)", re.ASCII
)


def utf8(raw: bytes) -> str:
    """The text of some bytes in UTF-8, without a byte order mark, as Windows writes before it."""
    # JSON and CSV begin with an ASCII character, which has a NUL beside it in UTF-16 and UTF-32.
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in raw[:2]:
        raise ValueError("is UTF-16")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("is not valid UTF-8") from None


def is_line(value: object) -> bool:
    """Whether a text is free of control, bidirectional and surrogate characters."""
    return _FORBIDDEN.search(str(value)) is None


def is_blank(value: str) -> bool:
    """Whether a text is empty, or of white space and invisible characters alone."""
    return not any(
        character != " " and character.isprintable() for character in _SHOWS_NOTHING.sub("", value)
    )


def is_visible(value: str) -> bool:
    """Whether each character is an ordinary space or shows.

    White space of other kinds, format, private and unassigned characters do not: nobody sees the difference,
    or what a later Unicode makes of them.
    """
    return value.isprintable() and _SHOWS_NOTHING.search(value) is None


def is_clean(value: str) -> bool:
    """Whether a text is visible and in NFC, judged fast: a few that are get False."""
    return (
        is_visible(value) and _MAY_BE_MARKS.search(value) is None and unicodedata.is_normalized("NFC", value)
    )


def clean_line(value: str, most: int) -> str:
    """One line in NFC of 1 to `most` characters, not all blank, without control or bidirectional ones."""
    return _clean(value, most, _FORBIDDEN)


def clean_text(value: str, most: int) -> str:
    """The same on several lines: line feeds and tabs are allowed, and CR LF becomes LF."""
    return _clean(value, most, _FORBIDDEN_IN_TEXT)


def _clean(value: str, most: int, forbidden: re.Pattern[str]) -> str:
    """The length is counted after normalisation, because the normalised text is stored.

    NFC makes one character of at most four, so a text that is longer than that is refused before any work.
    """
    if len(value) > 4 * most:
        raise ValueError(f"must be 1 to {most} characters")
    value = value.replace("\r\n", "\n") if forbidden is _FORBIDDEN_IN_TEXT else value
    if forbidden.search(value):
        raise ValueError(FORBIDDEN_CHARACTERS)
    if not value.isascii():
        _check_marks(value)
        value = unicodedata.normalize("NFC", value)
    if not 1 <= len(value) <= most:
        raise ValueError(f"must be 1 to {most} characters")
    if is_blank(value):
        raise ValueError("must have a visible character")
    return value


def _check_marks(value: str) -> None:
    if _MAY_BE_MARKS.search(value) is None:
        return
    run = 0
    for character in value:
        run = run + 1 if unicodedata.combining(character) or character in _TWO_MARKS else 0
        if run > MAX_MARKS:
            raise ValueError(f"must not have more than {MAX_MARKS} combining marks in a row")


def reference(value: str, most: int = MAX_REFERENCE) -> str:
    """A reference, of which an id is made: what looks the same must be the same."""
    value = clean_line(value, most)
    if value != value.strip() or not is_visible(value):
        raise ValueError(
            "must neither begin nor end with white space, nor contain invisible characters or white space"
            " other than ordinary spaces"
        )
    return value


def edu_id(value: str) -> str:
    """An eduID. Nothing is cut off or converted: a value that is not quite an identifier is refused."""
    _check_identifier(value)
    return _no_citizen_number(value)


def eppn(value: str) -> str:
    """An eduPersonPrincipalName: one @ with something on both sides."""
    _check_identifier(value)
    local, _, domain = value.partition("@")
    if not local or not domain or "@" in domain:
        raise ValueError("must have exactly one @, with something on both sides, as name@hhs.nl")
    _no_citizen_number(local)
    return value


def email_identifier(value: str) -> str:
    """An e-mail address that says who a learner is."""
    _check_identifier(value)
    local, _, domain = value.partition("@")
    if not local or not domain or "@" in domain:
        raise ValueError("must be an e-mail address, as name@example.org")
    return value


def email(value: str) -> str:
    """An e-mail address that only says where a learner can be reached."""
    value = clean_line(value, MAX_EMAIL)
    if not re.fullmatch(EMAIL, value) or not is_visible(value):
        raise ValueError("must be an e-mail address, as name@example.org")
    return value


def web_address(value: str, most: int = MAX_WEB_ADDRESS) -> str:
    """An http or https URL."""
    value = clean_line(value, most)
    if not re.fullmatch(WEB_ADDRESS, value) or not is_visible(value):
        raise ValueError("must be an http or https URL, as https://www.example.org")
    return value


def is_hash(value: str) -> bool:
    """Whether a text has the form `algorithm$hex`: the hash of an identifier, whatever is said beside it."""
    return _HASH.fullmatch(value) is not None


def _check_identifier(value: str) -> None:
    if not 1 <= len(value) <= MAX_IDENTIFIER:
        raise ValueError(f"must be 1 to {MAX_IDENTIFIER} characters")
    if not _IDENTIFIER.fullmatch(value):
        raise ValueError("must contain only visible ASCII characters, and no white space")
    if is_hash(value):
        raise ValueError("must be the identifier itself, not a hash of it")


def _no_citizen_number(value: str) -> str:
    """Refuses nine digits, which may be a Dutch citizen number.

    UAVG article 46 allows such a number to be processed only where a law prescribes it, and none does here.
    """
    if _CITIZEN_NUMBER.match(value):
        raise ValueError("must not be nine digits, which may be a citizen number; send an eduID")
    return value


def lower_uuid(value: str) -> str:
    """A UUID in lower case (RFC 9562, section 4); any other text as it is."""
    return value.lower() if UUID_IN_ANY_CASE.fullmatch(value) else value


HALF = Decimal("0.5")


def ects(value: object) -> int | float:
    """ECTS credits: a positive multiple of 0.5, an integer when whole. A string is not converted."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError("must be a number of ECTS in halves, as 5 or 2.5")  # noqa: TRY004
    exact = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    # The bounds come first: the remainder of a number with a huge exponent is rounded to nothing.
    if not exact.is_finite() or not HALF <= exact <= MAX_NUMBER or exact % HALF:
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

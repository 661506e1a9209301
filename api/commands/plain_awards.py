"""The fast parser of awards: it accepts the usual ones, at a fraction of the cost of pydantic.

An award that is accepted here means exactly what `AwardBody` makes of it (a property test holds this).
Anything unusual, valid or not, is left to `AwardBody`, which alone reports errors.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from typing import Annotated

import msgspec
from msgspec import Meta

from api.http.fields import EMAIL, URL
from registry.domain import values
from registry.domain.badge import AwardTerms
from registry.domain.institution import Origin
from registry.domain.private_parts import Evidence, Recipient
from registry.recording.awards import StatedAward

# Within the limits of `api.http.fields` and `AwardBody`, which judge anything longer.
Short = Annotated[str, Meta(min_length=1, max_length=100)]
Long = Annotated[str, Meta(min_length=1, max_length=2_000)]
Email = Annotated[str, Meta(min_length=1, max_length=100, pattern=EMAIL)]
Url = Annotated[str, Meta(min_length=1, max_length=2_000, pattern=URL)]
Uuid = Annotated[str, Meta(pattern=f"^{values.UUID.pattern}$")]


class _Plain(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel", gc=False
):
    pass


class _Learner(_Plain, frozen=True):
    edu_id: Short | None = None
    eppn: Short | None = None
    name: Short | None = None
    email: Email | None = None


class _Evidence(_Plain, frozen=True):
    url: Url | None = None
    name: Short | None = None
    narrative: Long | None = None
    description: Long | None = None


class _Award(_Plain, frozen=True):
    reference: Short
    learner: _Learner
    awarded_on: dt.date
    module_id: Uuid | None = None
    module_reference: Short | None = None
    module_version: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    valid_until: dt.date | None = None
    grade: Short | None = None
    evidence: Annotated[tuple[_Evidence, ...], Meta(max_length=20)] | None = None
    supersedes: Uuid | None = None


_decoder = msgspec.json.Decoder(_Award)
_encoder = msgspec.json.Encoder()
_ESCAPE = re.compile(rb"\\.", re.DOTALL)


def plain_award(raw: bytes, today: dt.date, brin: str, origin: Origin) -> StatedAward | None:
    """The award that a plain body states; None if the body is not plain."""
    try:
        stated = _decoder.decode(raw)
        if not _is_all(stated, raw):
            return None
        return _command(stated, today, brin, origin)
    except (msgspec.DecodeError, ValueError):
        return None


def _is_all(stated: _Award, raw: bytes) -> bool:
    """Whether `stated` holds all that was sent, and all of it is clean lines in NFC.

    Of members with the same name the decoder keeps the last, and the encoder leaves out a null: then fewer
    strings come out than went in. In JSON without escapes each string has two quotation marks, and there
    are no others.
    """
    again = _encoder.encode(stated)
    if b"\\" in again:
        return False  # a string contains a quotation mark, a backslash or a control character
    unescaped = _ESCAPE.sub(b"", raw) if b"\\" in raw else raw
    if unescaped.count(b'"') != again.count(b'"'):
        return False
    if again.isascii():
        return b"\x7f" not in again
    text = again.decode()
    return values.is_line(text) and unicodedata.is_normalized("NFC", text)


def _command(stated: _Award, today: dt.date, brin: str, origin: Origin) -> StatedAward | None:
    """The award; None, or a `ValueError`, if it breaks a rule that the decoder does not know."""
    learner, evidence = stated.learner, None
    values.award_day(stated.awarded_on, today)
    values.no_citizen_number(learner.edu_id or "")
    values.no_citizen_number_before_at(learner.eppn or "")
    if stated.evidence is not None:
        evidence = tuple(_part(item) for item in stated.evidence)
    invalid = (
        (stated.module_id is None) == (stated.module_reference is None)
        or (learner.edu_id is None) == (learner.eppn is None)
        or (stated.valid_until is not None and stated.valid_until < stated.awarded_on)
        or (evidence is not None and Evidence() in evidence)
    )
    if invalid:
        return None
    return StatedAward(
        brin,
        stated.reference,
        stated.module_id,
        stated.module_reference,
        Recipient(edu_id=learner.edu_id, eppn=learner.eppn, name=learner.name, email=learner.email),
        AwardTerms(stated.module_version, stated.awarded_on, stated.valid_until, stated.supersedes),
        origin,
        stated.grade,
        evidence,
    )


def _part(item: _Evidence) -> Evidence:
    return Evidence(url=item.url, name=item.name, narrative=item.narrative, description=item.description)

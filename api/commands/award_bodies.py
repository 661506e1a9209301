"""An award as an institution sends it: the body of a request, or a line of a batch.

Two parsers, one meaning: the plain one accepts the usual awards at a fraction of the cost, and what it
accepts means exactly what `AwardBody` makes of it (a property test holds this). Anything unusual, valid or
not, is left to `AwardBody`, which alone explains what is wrong.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta
from pydantic import Field

from api.http.fields import (
    AwardDay,
    Day,
    Description,
    EduId,
    Email,
    Eppn,
    Grade,
    Name,
    Reference,
    Url,
    Uuid,
    Version,
)
from api.http.requests import Body, parse
from registry.domain import values
from registry.domain.badge import AwardTerms
from registry.domain.errors import InvalidInput
from registry.domain.institution import Origin
from registry.domain.private_parts import (
    MAX_EVIDENCE,
    MAX_EVIDENCE_TEXT,
    Evidence,
    Recipient,
    evidence_text,
)
from registry.recording.awards import StatedAward


class LearnerBody(Body):
    """The learner: exactly one of eduId and eppn. Name and e-mail address never identify a learner."""

    edu_id: EduId | None = None
    eppn: Eppn | None = None
    name: Name | None = None
    email: Email | None = None


class EvidenceBody(Body):
    """A piece of evidence: at least one member."""

    url: Url | None = None
    name: Name | None = None
    narrative: Description | None = None
    description: Description | None = None

    def part(self) -> Evidence:
        return Evidence(url=self.url, name=self.name, narrative=self.narrative, description=self.description)


class AwardBody(Body):
    """An award. Learner, reference, grade and evidence are private, and kept in the vault."""

    example: ClassVar[dict[str, Any]] = {
        "reference": "2026-0001",
        "moduleReference": "KLINRED",
        "learner": {"eduId": "a1b2c3d4-0000-4000-8000-000000000001"},
        "awardedOn": "2024-06-28",
        "grade": "8",
        "evidence": [{"url": "https://example.org/portfolio", "narrative": "A portfolio with reflections."}],
    }

    reference: Reference
    module_id: Uuid | None = None
    module_reference: Reference | None = None
    module_version: Version | None = None
    learner: LearnerBody
    awarded_on: AwardDay
    valid_until: Day | None = None
    grade: Grade | None = None
    evidence: Annotated[list[EvidenceBody], Field(max_length=MAX_EVIDENCE)] | None = None
    supersedes: Uuid | None = None

    @classmethod
    def across(cls, members: dict[str, Any]) -> list[tuple[str, str]]:
        errors = []
        if (members.get("moduleId") is None) == (members.get("moduleReference") is None):
            errors.append(("", "must have exactly one of moduleId and moduleReference"))
        learner = members.get("learner")
        if isinstance(learner, dict) and (learner.get("eduId") is None) == (learner.get("eppn") is None):
            errors.append(("/learner", "must have exactly one of eduId and eppn"))
        first, last = members.get("awardedOn"), members.get("validUntil")
        if isinstance(first, str) and isinstance(last, str) and last < first:
            errors.append(("/validUntil", "must not be before awardedOn"))
        # A longer list is refused as such.
        for number, item in enumerate(_list(members.get("evidence"))[:MAX_EVIDENCE]):
            if isinstance(item, dict) and all(value is None for value in item.values()):
                errors.append((f"/evidence/{number}", "must not be empty; give a url or a narrative"))
        return errors

    def stated(self, brin: str, origin: Origin) -> StatedAward:
        learner = self.learner
        evidence = None if self.evidence is None else tuple(item.part() for item in self.evidence)
        if evidence is not None and evidence_text(evidence) > MAX_EVIDENCE_TEXT:
            raise InvalidInput(("/evidence", f"must be at most {MAX_EVIDENCE_TEXT} characters in total"))
        return StatedAward(
            brin=brin,
            reference=self.reference,
            module_id=self.module_id,
            module_reference=self.module_reference,
            recipient=Recipient(
                edu_id=learner.edu_id, eppn=learner.eppn, name=learner.name, email=learner.email
            ),
            terms=AwardTerms(self.module_version, self.awarded_on, self.valid_until, self.supersedes),
            origin=origin,
            grade=self.grade,
            evidence=evidence,
        )


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def stated_award(raw: bytes, today: dt.date, brin: str, origin: Origin) -> StatedAward:
    """The award that the body states; raises `InvalidInput` with every error."""
    plain = plain_award(raw, today, brin, origin)
    return plain or parse(AwardBody, raw, {"today": today}).stated(brin, origin)


# The plain parser. Its limits are within those of `AwardBody`, which judges anything longer.

_Short = Annotated[str, Meta(min_length=1, max_length=100)]
_Long = Annotated[str, Meta(min_length=1, max_length=2_000)]
_PlainEmail = Annotated[str, Meta(min_length=1, max_length=100, pattern=values.EMAIL)]
_PlainUrl = Annotated[str, Meta(min_length=1, max_length=2_000, pattern=values.WEB_ADDRESS)]
_PlainUuid = Annotated[str, Meta(pattern=f"^{values.UUID.pattern}$")]


class _Plain(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel", gc=False
):
    pass


class _PlainLearner(_Plain, frozen=True):
    edu_id: _Short | None = None
    eppn: _Short | None = None
    name: _Short | None = None
    email: _PlainEmail | None = None


class _PlainEvidence(_Plain, frozen=True):
    url: _PlainUrl | None = None
    name: _Short | None = None
    narrative: _Long | None = None
    description: _Long | None = None


class _PlainAward(_Plain, frozen=True):
    reference: _Short
    learner: _PlainLearner
    awarded_on: dt.date
    module_id: _PlainUuid | None = None
    module_reference: _Short | None = None
    module_version: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    valid_until: dt.date | None = None
    grade: _Short | None = None
    evidence: Annotated[tuple[_PlainEvidence, ...], Meta(max_length=20)] | None = None
    supersedes: _PlainUuid | None = None


_decoder = msgspec.json.Decoder(_PlainAward)
_encoder = msgspec.json.Encoder()
_ESCAPE = re.compile(rb"\\.", re.DOTALL)


def plain_award(raw: bytes, today: dt.date, brin: str, origin: Origin) -> StatedAward | None:
    """The award that a plain body states; None if the body is not plain."""
    try:
        stated = _decoder.decode(raw)
        if not _is_all(stated, raw):
            return None
        return _stated_by(stated, today, brin, origin)
    except (msgspec.DecodeError, ValueError):
        return None


def _is_all(stated: _PlainAward, raw: bytes) -> bool:
    """Whether `stated` holds all that was sent, and all of it is clean lines in NFC.

    Of members with the same name the decoder keeps the last, and the encoder leaves out a null: then fewer
    strings come out than went in. In JSON without escapes each string has two quotation marks, and there
    are no others.
    """
    again = _encoder.encode(stated)
    if b"\\" in again or b'" ' in again or b' "' in again:
        return False  # a string contains a quotation mark, a backslash or a control character, or is blank
    unescaped = _ESCAPE.sub(b"", raw) if b"\\" in raw else raw
    if unescaped.count(b'"') != again.count(b'"'):
        return False
    if again.isascii():
        return b"\x7f" not in again
    return values.is_clean(again.decode())


def _stated_by(stated: _PlainAward, today: dt.date, brin: str, origin: Origin) -> StatedAward | None:
    """The award; None, or a `ValueError`, if it breaks a rule that the decoder does not know."""
    learner, evidence = stated.learner, None
    values.award_day(stated.awarded_on, today)
    if learner.edu_id is not None:
        values.edu_id(learner.edu_id)
    if learner.eppn is not None:
        values.eppn(learner.eppn)
    if stated.evidence is not None:
        evidence = tuple(_part(item) for item in stated.evidence)
    invalid = (
        (stated.module_id is None) == (stated.module_reference is None)
        or (learner.edu_id is None) == (learner.eppn is None)
        or (stated.valid_until is not None and stated.valid_until < stated.awarded_on)
        or (evidence is not None and Evidence() in evidence)
        or (evidence is not None and evidence_text(evidence) > MAX_EVIDENCE_TEXT)
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


def _part(item: _PlainEvidence) -> Evidence:
    return Evidence(url=item.url, name=item.name, narrative=item.narrative, description=item.description)

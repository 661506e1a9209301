"""An award as an institution sends it: the body of a request, or a line of a batch."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from pydantic import Field

from api.commands.plain_awards import plain_award
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
from registry.domain.badge import AwardTerms
from registry.domain.institution import Origin
from registry.domain.private_parts import Evidence, Recipient
from registry.recording.awards import StatedAward


class LearnerBody(Body):
    """The learner: exactly one of eduId and eppn. Name and e-mail address never identify a learner."""

    edu_id: EduId | None = None
    eppn: Eppn | None = None
    name: Name | None = None
    email: Email | None = None


class EvidenceBody(Body):
    url: Url | None = None
    name: Name | None = None
    narrative: Description | None = None
    description: Description | None = None

    def part(self) -> Evidence:
        return Evidence(url=self.url, name=self.name, narrative=self.narrative, description=self.description)


class AwardBody(Body):
    """An award. Learner, reference, grade and evidence are private, and kept in the vault."""

    reference: Reference
    module_id: Uuid | None = None
    module_reference: Reference | None = None
    module_version: Version | None = None
    learner: LearnerBody
    awarded_on: AwardDay
    valid_until: Day | None = None
    grade: Grade | None = None
    evidence: Annotated[list[EvidenceBody], Field(max_length=20)] | None = None
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
        for number, item in enumerate(_list(members.get("evidence"))):
            if isinstance(item, dict) and all(value is None for value in item.values()):
                errors.append((f"/evidence/{number}", "must not be empty; give a url or a narrative"))
        return errors

    def command(self, brin: str, origin: Origin) -> StatedAward:
        learner = self.learner
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
            evidence=None if self.evidence is None else tuple(item.part() for item in self.evidence),
        )


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def stated_award(raw: bytes, today: dt.date, brin: str, origin: Origin) -> StatedAward:
    """The award that the body states; raises `InvalidInput` with every error."""
    plain = plain_award(raw, today, brin, origin)
    return plain or parse(AwardBody, raw, {"today": today}).command(brin, origin)

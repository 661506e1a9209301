"""The body of an award, checked by pydantic."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

_CLEAN = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"
Short = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_CLEAN)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=_CLEAN)]
Url = Annotated[str, StringConstraints(max_length=2000, pattern=r"^https?://[^\s/?#]+\S*$")]
Email = Annotated[str, StringConstraints(max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")]


class Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", populate_by_name=True)


class LearnerBody(Body):
    edu_id: Name | None = None
    eppn: Name | None = None
    name: Name | None = None
    email: Email | None = None

    @model_validator(mode="after")
    def identified(self) -> LearnerBody:
        identifier = self.edu_id or self.eppn or ""
        if (self.edu_id is None) == (self.eppn is None) or re.fullmatch("[0-9]{9}", identifier):
            raise ValueError("has exactly one of eduId and eppn, and no citizen number")
        return self


class EvidenceBody(Body):
    url: Url | None = None
    name: Name | None = None
    narrative: Annotated[str, StringConstraints(max_length=4000)] | None = None
    description: Annotated[str, StringConstraints(max_length=4000)] | None = None


class AwardBody(Body):
    reference: Short
    module_id: UUID | None = None
    module_reference: Short | None = None
    learner: LearnerBody
    awarded_on: dt.date
    valid_until: dt.date | None = None
    grade: Short | None = None
    evidence: Annotated[list[EvidenceBody], Field(max_length=20)] | None = None

    @model_validator(mode="after")
    def of_a_module(self) -> AwardBody:
        if (self.module_id is None) == (self.module_reference is None):
            raise ValueError("has exactly one of moduleId and moduleReference")
        if self.valid_until is not None and self.valid_until < self.awarded_on:
            raise ValueError("validUntil lies before awardedOn")
        return self

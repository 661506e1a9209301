"""Members of request bodies: their shapes and limits, as contract sections 2 and 3 give them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from registry.domain import values


@dataclass(frozen=True)
class Text:
    """A text of bounded length in NFC; several lines where `lines` is set.

    The length is counted after normalisation, since that is what is stored.
    """

    most: int
    lines: bool = False

    def check(self, value: str) -> str:
        value = values.clean_text(value) if self.lines else values.clean_line(value)
        if not 1 <= len(value) <= self.most:
            raise ValueError(f"has not 1 to {self.most} characters")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "minLength": 1, "maxLength": self.most}


def _day(value: object) -> object:
    """A calendar day in the one form `YYYY-MM-DD`."""
    if isinstance(value, str):
        return values.calendar_day(value)
    raise ValueError("is no date of the form YYYY-MM-DD")


def _award_day(value: dt.date, info: ValidationInfo) -> dt.date:
    if info.context is None:
        raise AssertionError("an award is parsed with `today` in its context")
    return values.award_day(value, info.context["today"])


Day = Annotated[dt.date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
AwardDay = Annotated[Day, AfterValidator(_award_day)]

Name = Annotated[str, Text(255)]
Reference = Annotated[str, Text(100)]
Grade = Annotated[str, Text(100)]
EduId = Annotated[str, Text(200), AfterValidator(values.no_citizen_number)]
Eppn = Annotated[str, Text(200), AfterValidator(values.no_citizen_number_before_at)]
Description = Annotated[str, Text(4_000, lines=True)]
Note = Annotated[str, Text(4_000, lines=True)]
PublicReason = Annotated[str, Text(500, lines=True)]
Outcome = Annotated[str, Text(500, lines=True)]
URL = r"^https?://[^\s/?#]+\S*$"
Url = Annotated[
    str,
    Text(2_000),
    StringConstraints(pattern=URL),
    Field(description="http or https"),
]
EMAIL = r"^[^@\s]+@[^@\s]+$"
Email = Annotated[str, Text(254), StringConstraints(pattern=EMAIL)]
Uuid = Annotated[
    str, StringConstraints(pattern=f"^{values.UUID.pattern}$"), Field(description="A UUID in lower case.")
]
Isced = Annotated[
    str, StringConstraints(pattern="^[0-9]{2,4}$"), Field(description="ISCED-F 2013, 2 to 4 digits.")
]
Language = Annotated[
    str,
    StringConstraints(pattern=f"^{values.LANGUAGE.pattern}$"),
    Field(description="A BCP 47 language tag."),
]
SchacHome = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$"),
    Field(description="The home organisation's domain name."),
]
Nlqf = Literal["1", "2", "3", "4", "4+", "5", "6", "7", "8"]
Eqf = Literal["1", "2", "3", "4", "5", "6", "7", "8"]
Ects = Annotated[
    int | float,
    BeforeValidator(values.ects),
    WithJsonSchema({"type": "number", "multipleOf": 0.5, "exclusiveMinimum": 0, "maximum": 10_000}),
]
Sbu = Annotated[
    int, BeforeValidator(values.sbu), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 10_000})
]
Version = Annotated[int, Field(ge=1, le=1_000_000)]
Participation = Literal["online", "onsite", "blended", "work-experience"]
Assessment = Literal[
    "written-exam",
    "oral-exam",
    "report",
    "behavioural",
    "professional-product",
    "development-report",
    "portfolio",
    "personalised",
    "recognition",
]
Supervision = Literal["none", "supervised", "online-with-identity", "onsite-with-identity"]

"""The members of request bodies: their forms and limits, as sections 2 and 3 of the contract give them."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from registry.domain import values

MAX_ASKED_REFERENCE = 2_000


@dataclass(frozen=True)
class Text:
    """A text in NFC of 1 to `max_length` characters, on several lines where `lines` is set."""

    max_length: int
    lines: bool = False
    remedy: str = ""

    def check(self, value: str) -> str:
        clean = values.clean_text if self.lines else values.clean_line
        try:
            return clean(value, self.max_length)
        except ValueError as error:
            raise ValueError(f"{error}{self.remedy}") from None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "minLength": 1, "maxLength": self.max_length}


@dataclass(frozen=True)
class Form:
    """A text of one form: `pattern` describes it to programs, `sentence` to people."""

    pattern: str
    sentence: str
    max_length: int

    def check(self, value: str) -> str:
        if len(value) > self.max_length or not re.fullmatch(self.pattern, value):
            raise ValueError(self.sentence)
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "pattern": self.pattern, "maxLength": self.max_length}


def _day(value: object) -> object:
    """A date as `YYYY-MM-DD`."""
    return values.calendar_day(value if isinstance(value, str) else "")


def _award_day(value: dt.date, info: ValidationInfo) -> dt.date:
    if info.context is None:
        raise AssertionError("parsing an award needs `today` in its context")
    return values.award_day(value, info.context["today"])


def _asked_reference(value: str) -> str:
    return values.reference(value, MAX_ASKED_REFERENCE)


def _schema(max_length: int, pattern: str | None = None) -> WithJsonSchema:
    """The description for programs of a text that a function of the domain checks."""
    form = {} if pattern is None else {"pattern": pattern}
    return WithJsonSchema({"type": "string", "minLength": 1, "maxLength": max_length, **form})


Day = Annotated[dt.date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
AwardDay = Annotated[Day, AfterValidator(_award_day)]

Name = Annotated[str, Text(values.MAX_NAME)]
Reference = Annotated[str, AfterValidator(values.reference), _schema(values.MAX_REFERENCE, r"^\S(.*\S)?$")]
# The reference of a look-up. Those of imported awards and modules are addresses, which may be longer.
AskedReference = Annotated[str, AfterValidator(_asked_reference), _schema(MAX_ASKED_REFERENCE)]
Grade = Annotated[str, Text(values.MAX_GRADE, remedy="; leave it out if there is none")]
EduId = Annotated[str, AfterValidator(values.edu_id), _schema(values.MAX_IDENTIFIER, "^[!-~]+$")]
Eppn = Annotated[str, AfterValidator(values.eppn), _schema(values.MAX_IDENTIFIER, "^[!-?A-~]+@[!-?A-~]+$")]
Description = Annotated[str, Text(values.MAX_LONG_TEXT, lines=True)]
Note = Annotated[str, Text(values.MAX_LONG_TEXT, lines=True)]
PublicReason = Annotated[str, Text(500, lines=True)]
LearningOutcome = Annotated[str, Text(500, lines=True)]
Url = Annotated[
    str,
    AfterValidator(values.web_address),
    _schema(values.MAX_WEB_ADDRESS, values.WEB_ADDRESS),
    Field(description="http or https"),
]
Email = Annotated[str, AfterValidator(values.email), _schema(values.MAX_EMAIL, values.EMAIL)]
Uuid = Annotated[
    str,
    Form(
        f"^{values.UUID_IN_ANY_CASE.pattern}$", "must be a UUID, as 01234567-89ab-8def-8123-456789abcdef", 36
    ),
    AfterValidator(values.lower_uuid),
    Field(description="A UUID, in any case; it is answered in lower case."),
]
Isced = Annotated[
    str,
    Form("^[0-9]{2,4}$", "must be 2 to 4 digits (ISCED-F 2013)", 4),
    Field(description="ISCED-F 2013, 2 to 4 digits."),
]
Language = Annotated[
    str,
    Form(f"^{values.LANGUAGE.pattern}$", "must be a BCP 47 language tag, as nl-NL", values.MAX_LANGUAGE),
    Field(description="A BCP 47 language tag."),
]
SchacHome = Annotated[
    str,
    Form(r"^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$", "must be a domain name, as hhs.nl", 253),
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

"""Reads a body: counted while it arrives, parsed as strict JSON, and every error reported at once."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from api.http.error_texts import UNKNOWN_FIELD, sentence
from api.http.places import Places
from api.http.problems import TooLarge, WrongMediaType
from api.http.service import service_of
from registry.domain import values
from registry.domain.errors import InvalidInput

MAX_BODY = 1024 * 1024
MAX_UNKNOWN = 10
MAX_MEMBERS = 100
"""Members of an object: several times what any request has."""
MAX_VALUES = 1_000
"""Values in a body, or in a line of a batch: several times what any request has."""
MAX_ON_LOOP = 16 * 1024
"""Bytes of a body that is parsed on the event loop; a longer one would hold up all other requests."""
MAX_LONG_BODIES, MAX_LONG_BODIES_OF_TOKEN = 32, 8
"""Longer bodies that are in memory at once, in this process and of one token."""


class Body(BaseModel):
    """A request body: camelCase members and no others; no value is converted."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", strict=True, frozen=True, populate_by_name=False
    )
    may_be_empty: ClassVar[bool] = False
    example: ClassVar[dict[str, Any]]

    @classmethod
    def across(cls, members: dict[str, Any]) -> Iterable[tuple[str, str]]:
        """Errors between members, as (pointer, sentence). Checked also when single members are wrong."""
        del members
        return ()


BodyT = TypeVar("BodyT", bound=Body)
ParsedT = TypeVar("ParsedT")


def long_bodies() -> Places:
    """The places for the long bodies of a process."""
    return Places("long bodies", MAX_LONG_BODIES, MAX_LONG_BODIES_OF_TOKEN)


async def read_json(
    request: Request, parsed: Callable[[bytes], ParsedT], *, may_be_empty: bool = False
) -> ParsedT:
    """What `parsed` makes of a JSON body, which is refused as soon as more than its limit has arrived.

    The request is authenticated by now: a body takes no place of a token before its bearer is known.
    """
    service = service_of(request)
    with ExitStack() as places:
        parts: list[bytes] = []
        size = 0
        async for part in request.stream():
            if size <= MAX_ON_LOOP < size + len(part):
                places.enter_context(service.long_bodies.place(request.state.principal.token_id))
            size += len(part)
            if size > MAX_BODY:
                raise TooLarge(MAX_BODY)
            parts.append(part)
        raw = b"".join(parts)
        if raw or not may_be_empty:
            media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if media_type != "application/json":
                raise WrongMediaType("application/json")
        if size <= MAX_ON_LOOP:
            return parsed(raw)
        return await asyncio.get_running_loop().run_in_executor(service.parsing, parsed, raw)


def body(model: type[BodyT]) -> Callable[[Request], Awaitable[BodyT]]:
    """A dependency that reads, parses and checks the request's body as `model`."""

    async def read(request: Request) -> BodyT:
        context = {"today": service_of(request).today()}
        return await read_json(
            request, lambda raw: parse(model, raw or b"{}", context), may_be_empty=model.may_be_empty
        )

    return read


def parse(model: type[BodyT], raw: bytes, context: dict[str, Any]) -> BodyT:
    """The checked body; raises `InvalidInput` with every error."""
    members = parse_json(raw)
    if isinstance(members, dict):
        _check_names(model, members)
    errors: list[tuple[str, str]] = []
    checked: BodyT | None = None
    try:
        checked = model.model_validate(members, context=context)
    except ValidationError as invalid:
        details = invalid.errors(include_input=False, include_url=False)
        errors = [(pointer(detail["loc"]), sentence(detail)) for detail in details]
    if isinstance(members, dict):
        errors += model.across(members)
    if errors or checked is None:
        raise InvalidInput(*errors)
    return checked


def _check_names(model: type[Body], members: dict[str, Any]) -> None:
    """Refuses a body of many unknown fields for these alone, at half the cost of all its errors."""
    known = {field.alias or name for name, field in model.model_fields.items()}
    unknown = [name for name in members if name not in known]
    if len(unknown) > MAX_UNKNOWN:
        raise InvalidInput(*[(pointer((name,)), UNKNOWN_FIELD) for name in unknown])


def parse_json(raw: bytes) -> Any:
    """Strict JSON: UTF-8, no duplicate members, no NaN, exact decimals, bounded counts, depth and numbers.

    A byte order mark before it is skipped (RFC 8259, section 8.1).
    """
    _check_values(raw)
    try:
        text = values.utf8(raw)
    except ValueError as error:
        raise InvalidInput(("", f"{error}; send it as UTF-8")) from None
    try:
        return _decoder.decode(text)
    except RecursionError:
        raise InvalidInput(("", "must be nested less deeply")) from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidInput(("", f"is not valid JSON ({place})")) from None


def pointer(place: Iterable[int | str]) -> str:
    """A JSON pointer (RFC 6901); a member's name is cut off at 64 characters.

    Characters that cannot be printed become `?`: readers of a batch's outcomes may treat some of them
    as the end of a line.
    """
    parts = (str(part).encode("utf-8", "replace").decode()[:64] for part in place)
    printable = ("".join(char if char.isprintable() else "?" for char in part) for part in parts)
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in printable)


# With possessive quantifiers, so that each byte is looked at once; a text may lack its end.
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


def _check_values(raw: bytes) -> None:
    """Counts values before any is made: half a million empty lists took a quarter of a second.

    Each value but the first is the first of a list or an object, or comes after a comma. It is one text at
    most, and has another for its name.
    """
    structure, texts = _TEXT.subn(b"", raw, 2 * MAX_VALUES)
    marks = structure.count(b",") + structure.count(b"[") + structure.count(b"{")
    if texts == 2 * MAX_VALUES or marks >= MAX_VALUES:
        raise InvalidInput(("", f"must have at most {MAX_VALUES} values"))


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_MEMBERS:
        raise InvalidInput(("", f"an object must have at most {MAX_MEMBERS} fields"))
    members = dict(pairs)
    if len(members) != len(pairs):
        raise InvalidInput(("", "a field is given twice in one object; give it once"))
    return members


def _no_constant(name: str) -> None:
    raise InvalidInput(("", f"is not valid JSON: {name} is not a number"))


def _decimal(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if len(text) > 40 or not number.is_finite():
        raise InvalidInput(("", "a number must be finite and at most 40 characters long"))
    return number


def _integer(text: str) -> int:
    if len(text) > 20:
        raise InvalidInput(("", "a number must have at most 20 digits"))
    return int(text)


_decoder = json.JSONDecoder(
    object_pairs_hook=_members, parse_constant=_no_constant, parse_float=_decimal, parse_int=_integer
)

"""Reading a body: counted while it comes in, strict JSON, and everything that is wrong said at once."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from api.http.problems import TooLarge, WrongMediaType
from api.http.service import service_of
from registry.domain.errors import InvalidInput

LARGEST_BODY = 1024 * 1024


class Body(BaseModel):
    """A request body: camelCase members, no other ones, nothing coerced."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", strict=True, frozen=True, populate_by_name=False
    )
    may_be_empty: ClassVar[bool] = False

    @classmethod
    def across(cls, members: dict[str, Any]) -> Iterable[tuple[str, str]]:
        """What is wrong between members: (pointer, detail). Asked also when single members are wrong."""
        del members
        return ()


BodyT = TypeVar("BodyT", bound=Body)


async def read_body(request: Request, limit: int = LARGEST_BODY) -> bytes:
    """The bytes of the body; refuses as soon as they are more than `limit`."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLarge(limit)
        parts.append(part)
    return b"".join(parts)


def body(model: type[BodyT]) -> Callable[[Request], Awaitable[BodyT]]:
    """A dependency that reads, parses and checks the request's body as `model`."""

    async def read(request: Request) -> BodyT:
        raw = await read_json(request, may_be_empty=model.may_be_empty)
        return parse(model, raw or b"{}", {"today": service_of(request).today()})

    return read


async def read_json(request: Request, *, may_be_empty: bool = False) -> bytes:
    """The bytes of a body of JSON."""
    raw = await read_body(request)
    if raw or not may_be_empty:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise WrongMediaType("application/json")
    return raw


def parse(model: type[BodyT], raw: bytes, context: dict[str, Any]) -> BodyT:
    """The checked body; raises `InvalidInput` with all that is wrong."""
    members = parse_json(raw)
    wrong: list[tuple[str, str]] = []
    checked: BodyT | None = None
    try:
        checked = model.model_validate(members, context=context)
    except ValidationError as error:
        wrong = [
            (pointer(each["loc"]), _said(each["type"], each["msg"]))
            for each in error.errors(include_input=False, include_url=False)
        ]
    if isinstance(members, dict):
        wrong += model.across(members)
    if wrong or checked is None:
        raise InvalidInput(*wrong)
    return checked


def parse_json(raw: bytes) -> Any:
    """Strict JSON: UTF-8, no duplicate members, no NaN, exact decimals, of bounded depth and size."""
    try:
        return _decoder.decode(raw.decode())
    except UnicodeDecodeError:
        raise InvalidInput(("", "is no UTF-8")) from None
    except RecursionError:
        raise InvalidInput(("", "is nested too deeply")) from None
    except ValueError as error:
        # The parser's own sentence names line and column and not the text.
        said = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        place = (
            f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        )
        raise InvalidInput(("", f"is no JSON that is taken here: {said}{place}")) from None


def pointer(place: Iterable[int | str]) -> str:
    """A JSON pointer (RFC 6901); a member's name is cut off at 64 characters.

    What cannot be printed stands as `?`: some of it ends a line for those who read a batch's outcomes.
    """
    parts = (str(part).encode("utf-8", "replace").decode()[:64] for part in place)
    shown = ("".join(each if each.isprintable() else "?" for each in part) for part in parts)
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in shown)


def _said(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "is no member of this request; leave it out"
    return message.removeprefix("Value error, ")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice in one object")
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _decimal(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if len(text) > 40 or not number.is_finite():
        raise ValueError("a number is too large or has too many digits")
    return number


def _integer(text: str) -> int:
    if len(text) > 20:
        raise ValueError("a number has too many digits")
    return int(text)


_decoder = json.JSONDecoder(
    object_pairs_hook=_members, parse_constant=_no_constant, parse_float=_decimal, parse_int=_integer
)

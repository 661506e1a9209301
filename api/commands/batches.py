"""The commands of an institution in bulk: NDJSON in, an outcome for each line out, in the same order.

Each line is recorded or refused by itself. Lines that were recorded before a connection broke stay
recorded, and are `known` when the whole batch is sent again.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, ClassVar, cast

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import TypeAdapter, ValidationError

from api.commands.award_bodies import AwardBody, stated_award
from api.commands.common import Institution, registry_of, settled, writing_of
from api.http.auth import brin
from api.http.fields import Day, Note, Reference, Uuid
from api.http.ndjson import MAX_LINE, Line, Lines
from api.http.openapi import accepts_lines, answers, answers_lines
from api.http.places import Places
from api.http.problems import WrongMediaType, described
from api.http.requests import Body, parse, parse_json
from api.http.responses import BatchOutcome
from api.http.service import service_of
from registry.domain.errors import InvalidInput, Refusal
from registry.domain.events import RevocationReason
from registry.domain.institution import Origin
from registry.postgres.connections import BusyError
from registry.recording.commands import RevokeBadge
from registry.recording.decisions import BadgeOutcome, Command, Settled

router = APIRouter(tags=["badges"])
MEDIA_TYPE = "application/x-ndjson"
MAX_BATCHES, MAX_BATCHES_OF_TOKEN = 8, 2
"""Batches at once, in this process and of one token: each keeps some pages and all outcomes in memory."""
PAGE_SECONDS = 60.0
"""How long a page may take to be recorded; the batch then ends with 503, and is sent again."""
MAX_PLAIN = 16 * 1024 * 1024
"""Outcomes without a refusal are kept uncompressed up to this number of bytes."""
PAGES_AT_ONCE = 2
"""Pages of a batch at once: one is decided while the other waits for its commit."""
OUTCOMES = answers_lines(BatchOutcome, "An outcome for each line, in the order of the lines.")


def places() -> Places:
    """The places for the batches of a process."""
    return Places("batches", MAX_BATCHES, MAX_BATCHES_OF_TOKEN)


async def hold_place(request: Request, principal: Institution) -> AsyncIterator[None]:
    """A dependency that holds a place from before the body is read until the answer is sent."""
    with writing_of(request).batches.place(principal.token_id):
        yield


class BadgeRevocationBody(Body):
    """A line of a bulk revocation: the badge by `id` or by the award's `reference`."""

    example: ClassVar[dict[str, Any]] = {"reference": "2026-0001", "reason": "awarded-in-error"}

    id: Uuid | None = None
    reference: Reference | None = None
    reason: RevocationReason
    effective_on: Day | None = None
    note: Note | None = None

    @classmethod
    def across(cls, members: dict[str, Any]) -> list[tuple[str, str]]:
        if (members.get("id") is None) == (members.get("reference") is None):
            return [("", "must have exactly one of id and reference")]
        return []


Parse = Callable[[bytes], tuple[str | None, Command[BadgeOutcome]]]
"""The command that a line states, with its reference if it has one; raises a `Refusal`."""
_reference = TypeAdapter(Reference)
_encoder = msgspec.json.Encoder()


class _Read(msgspec.Struct, gc=False):
    """A line: its number, and the command that it states or the refusal of it, encoded.

    A refusal itself would keep alive all that its traceback refers to.
    """

    line: int
    reference: str | None
    command: Command[BadgeOutcome] | msgspec.Raw


class _Outcome(msgspec.Struct, omit_defaults=True, rename="camel", gc=False):
    """A line of the answer: see `BatchOutcome`."""

    line: int
    reference: str | None
    outcome: str
    id: str | None = None
    learner_id: str | None = None
    position: int | None = None
    problem: dict[str, Any] | msgspec.Raw | None = None


class _Outcomes:
    """The answer to a batch, kept in memory and never on disk, because it contains references."""

    def __init__(self, done: str) -> None:
        self._done = done
        self._pages: list[bytes] = []
        self._size = 0

    def add(self, page: Sequence[_Read], settled: Sequence[BadgeOutcome | Refusal]) -> None:
        if not page:
            return
        left = iter(settled)
        outcomes = [
            self._outcome(read, read.command if isinstance(read.command, msgspec.Raw) else next(left))
            for read in page
        ]
        # Refusals are long and much alike; ids hardly compress.
        plain = self._size < MAX_PLAIN and not any(outcome.problem for outcome in outcomes)
        self._pages.append(zlib.compress(_encoder.encode_lines(outcomes), 0 if plain else 1))
        self._size += len(self._pages[-1])

    def answer(self) -> Response:
        if not self._pages:
            raise InvalidInput(("", "must have at least one line"))
        return StreamingResponse(map(zlib.decompress, self._pages), media_type=MEDIA_TYPE)

    def _outcome(self, read: _Read, settled: BadgeOutcome | Refusal | msgspec.Raw) -> _Outcome:
        if isinstance(settled, msgspec.Raw):
            return _Outcome(read.line, read.reference, "refused", problem=settled)
        if isinstance(settled, Refusal):
            return _Outcome(read.line, read.reference, "refused", problem=described(settled))
        outcome = self._done if settled.created else "known"
        return _Outcome(read.line, read.reference, outcome, settled.id, settled.learner_id, settled.position)


def _read(lines: Sequence[Line], parse_line: Parse) -> list[_Read]:
    return [_Read(number, *_parsed(text, parse_line)) for number, text in lines]


def _encoded(refusal: Refusal) -> msgspec.Raw:
    return msgspec.Raw(_encoder.encode(described(refusal)))


_TOO_LONG = _encoded(InvalidInput(("", f"must be at most {MAX_LINE} bytes")))
_NO_OBJECT = _encoded(InvalidInput(("", "must be a JSON object")))


def _parsed(text: bytes | None, parse_line: Parse) -> tuple[str | None, Command[BadgeOutcome] | msgspec.Raw]:
    if text is None:
        return None, _TOO_LONG
    if not text.lstrip().startswith(b"{"):
        return None, _NO_OBJECT  # at once: a hostile batch has many such lines
    try:
        return parse_line(text)
    except Refusal as refusal:
        return _reference_in(text), _encoded(refusal)


def _reference_in(text: bytes) -> str | None:
    """The reference of a refused line, if it can be read and is valid."""
    try:
        members = parse_json(text)
        return _reference.validate_python(members["reference"], strict=True)
    except (InvalidInput, ValidationError, TypeError, KeyError):
        return None


def _decided(outcome: Settled) -> BadgeOutcome | Refusal:
    if isinstance(outcome, Exception) and not isinstance(outcome, Refusal):
        raise outcome
    return cast("BadgeOutcome | Refusal", outcome)


class _Page(msgspec.Struct):
    """Lines on their way to the log; `subjects` are what their commands write to."""

    lines: list[_Read]
    subjects: set[str]
    recording: asyncio.Task[list[Settled]] | None = None

    async def outcomes(self) -> list[BadgeOutcome | Refusal]:
        if self.recording is None:
            return []
        try:
            async with asyncio.timeout(PAGE_SECONDS):
                return [_decided(outcome) for outcome in await self.recording]
        except TimeoutError:
            raise BusyError("a page was not recorded in time") from None


async def _answer(request: Request, done: str, parse_line: Parse) -> Response:
    """Reads to the end before it answers, so that clients that send first and read later do not hang.

    A page is recorded beside the one before it where the two write to different badges, and after it
    otherwise: of two lines with one reference the first wins. The next page is read meanwhile. Nothing is
    submitted after a page that failed.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != MEDIA_TYPE:
        raise WrongMediaType(MEDIA_TYPE)
    registry, lines, outcomes = registry_of(request), Lines(request), _Outcomes(done)
    loop, parsing = asyncio.get_running_loop(), service_of(request).parsing
    on_their_way: deque[_Page] = deque()
    try:
        async for some in lines.pages():
            read = await loop.run_in_executor(parsing, _read, some, parse_line)
            commands = [line.command for line in read if not isinstance(line.command, msgspec.Raw)]
            page = _Page(read, {command.subjects[0] for command in commands})
            finished = []
            while len(on_their_way) == PAGES_AT_ONCE or not all(
                page.subjects.isdisjoint(earlier.subjects) for earlier in on_their_way
            ):
                first = on_their_way.popleft()
                finished.append((first, await first.outcomes()))
            if commands:
                page.recording = asyncio.create_task(settled(registry, commands))
            on_their_way.append(page)
            for first, outcomes_ in finished:
                await loop.run_in_executor(parsing, outcomes.add, first.lines, outcomes_)
        while on_their_way:
            first = on_their_way.popleft()
            await loop.run_in_executor(parsing, outcomes.add, first.lines, await first.outcomes())
    finally:
        # A request that ended early records nothing beyond the pages already being recorded.
        left = [page.recording for page in on_their_way if page.recording is not None]
        for recording in left:
            recording.cancel()
        await asyncio.gather(*left, return_exceptions=True)
    if lines.too_large:
        raise lines.too_large
    return outcomes.answer()


@router.post(
    "/badge-batches",
    operation_id="awardBadges",
    summary="Award badges in bulk",
    responses=answers(400, 401, 403, 413, 415, 429) | OUTCOMES,
    dependencies=[Depends(hold_place)],
    openapi_extra=accepts_lines(AwardBody),
    response_class=StreamingResponse,
)
async def award_badges(request: Request, principal: Institution) -> Response:
    preparation = registry_of(request).preparation()
    owner, today = brin(principal), service_of(request).today()
    origin = Origin("batch", principal.token_id)

    def parse_line(line: bytes) -> tuple[str, Command[BadgeOutcome]]:
        stated = stated_award(line, today, owner, origin)
        return stated.reference, preparation.prepare(stated)

    return await _answer(request, "awarded", parse_line)


@router.post(
    "/badge-revocations",
    operation_id="revokeBadges",
    summary="Revoke badges in bulk, permanently",
    responses=answers(400, 401, 403, 413, 415, 429) | OUTCOMES,
    dependencies=[Depends(hold_place)],
    openapi_extra=accepts_lines(BadgeRevocationBody),
    response_class=StreamingResponse,
)
async def revoke_badges(request: Request, principal: Institution) -> Response:
    registry, owner = registry_of(request), brin(principal)
    origin = Origin("batch", principal.token_id)

    def parse_line(line: bytes) -> tuple[str | None, Command[BadgeOutcome]]:
        stated = parse(BadgeRevocationBody, line, {})
        badge_id = stated.id or registry.badge_id(owner, stated.reference or "")
        command = RevokeBadge(owner, badge_id, stated.reason, stated.effective_on, stated.note, origin)
        return stated.reference, command

    return await _answer(request, "revoked", parse_line)

"""An institution's commands in bulk: NDJSON in, an outcome a line out, in the same order.

Each line stands by itself: what is right is recorded, what is wrong is refused. What was recorded
before a broken connection stands, and is `known` when the whole is sent again.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool

from api.commands.award_bodies import AwardBody, award_command
from api.commands.common import Institution, registry_of
from api.http.auth import brin
from api.http.fields import Day, Note, Reference, Uuid
from api.http.ndjson import LONGEST_LINE, Line, Lines
from api.http.openapi import answers, answers_lines, takes_lines
from api.http.problems import WrongMediaType, described
from api.http.requests import Body, parse, parse_json
from api.http.responses import BatchOutcome
from registry.domain.errors import InvalidInput, Refusal
from registry.domain.events import RevocationReason
from registry.domain.institution import Origin
from registry.recording.award_preparation import AwardCommand, PreparedAward
from registry.recording.decisions import BadgeOutcome
from registry.recording.pages import Page, Settled
from registry.recording.registry import Registry
from registry.recording.revocations import RevocationCommand
from registry.tokens import Principal

router = APIRouter(tags=["badges"])
MEDIA_TYPE = "application/x-ndjson"
MOST_WAITING = 2
"""Pages that are read and not recorded yet, the one that is being recorded among them; one more is read."""
MOST_PLAIN = 16 * 1024 * 1024
"""Bytes of an answer in pages without a refusal that are kept as they are: the rest is compressed."""
OUTCOMES = answers_lines(BatchOutcome, "An outcome a line, in the order of the lines.")


class BadgeRevocationBody(Body):
    """A line of a bulk revocation: the badge by `id` or by the award's `reference`."""

    id: Uuid | None = None
    reference: Reference | None = None
    reason: RevocationReason
    effective_on: Day | None = None
    note: Note | None = None

    @classmethod
    def across(cls, members: dict[str, Any]) -> list[tuple[str, str]]:
        if (members.get("id") is None) == (members.get("reference") is None):
            return [("", "has exactly one of id and reference")]
        return []


Command = PreparedAward[AwardCommand] | RevocationCommand
Understand = Callable[[bytes], tuple[str | None, Command]]
"""The reference in a line, if it has one, and what the line states; raises a `Refusal`."""
PageOf = Callable[[Sequence[Any]], Page[Any]]
Read = tuple[int, str | None, Command | Refusal]
"""A line by its number and its reference, as what it states or as what is wrong with it."""
_reference = TypeAdapter(Reference)
_encoder = msgspec.json.Encoder()


class _Outcome(msgspec.Struct, omit_defaults=True, rename="camel", gc=False):
    """A line of the answer, as `BatchOutcome` describes it."""

    line: int
    reference: str | None
    outcome: str
    id: str | None = None
    learner_id: str | None = None
    position: int | None = None
    problem: dict[str, Any] | None = None


class _Batch:
    """What the pages of one request share."""

    def __init__(self, request: Request, principal: Principal, done: str) -> None:
        self.registry: Registry = registry_of(request)
        self.brin, self.done = brin(principal), done
        self.origin = Origin("batch", principal.token_id)
        self.today: dt.date = request.app.state.today()
        self.ended = False
        """Nothing more is recorded: something of a page could not be, or nobody waits for it."""
        self.kept = 0
        """Bytes of the answer so far, as they are kept: in memory, since they hold references."""

    def read(
        self, lines: Sequence[Line], understand: Understand, page_of: PageOf
    ) -> tuple[list[Read], Page[Any]]:
        """Each line of a page as what it states, or its refusal; and those that state something."""
        read = [(number, *self._read(text, understand)) for number, text in lines]
        return read, page_of([stated for _, _, stated in read if not isinstance(stated, Refusal)])

    def _read(self, text: bytes | None, understand: Understand) -> tuple[str | None, Command | Refusal]:
        if text is None:
            return None, InvalidInput(("", f"is a line of more than {LONGEST_LINE} bytes"))
        try:
            return understand(text)
        except Refusal as refusal:
            return _reference_in(text), refusal

    def settle(self, page: Page[Any]) -> list[BadgeOutcome | Refusal]:
        """Records a page, one after the other: of two lines with one reference the first wins.

        So nothing of it is recorded where something of a page before it could not be.
        """
        if self.ended:
            return []
        try:
            return [_decided(each) for each in (page.settle() if page.commands else ())]
        except Exception:
            self.ended = True
            raise

    def outcomes(self, read: Sequence[Read], settled: Sequence[BadgeOutcome | Refusal]) -> bytes:
        """The outcomes of a page as NDJSON, as they are kept until all are there."""
        left = iter(settled)
        outcomes = [
            self._outcome(number, reference, stated if isinstance(stated, Refusal) else next(left))
            for number, reference, stated in read
        ]
        # A refusal is long and like the next one; ids hardly compress.
        plain = self.kept < MOST_PLAIN and not any(each.problem for each in outcomes)
        kept = zlib.compress(_encoder.encode_lines(outcomes), 0 if plain else 1)
        self.kept += len(kept)
        return kept

    def _outcome(self, number: int, reference: str | None, settled: BadgeOutcome | Refusal) -> _Outcome:
        if isinstance(settled, Refusal):
            return _Outcome(number, reference, "refused", problem=described(settled))
        outcome = self.done if settled.created else "known"
        return _Outcome(number, reference, outcome, settled.id, settled.learner_id, settled.position)


def _decided(settled: Settled) -> BadgeOutcome | Refusal:
    """What became of a line; raises what kept it from being decided."""
    if isinstance(settled, BadgeOutcome | Refusal):
        return settled
    raise settled


def _reference_in(text: bytes) -> str | None:
    """The reference of a line that is refused for something else, so that its sender knows which it is."""
    try:
        members = parse_json(text)
        return _reference.validate_python(members["reference"], strict=True)
    except (InvalidInput, ValidationError, TypeError, KeyError):
        return None


async def _answer(request: Request, batch: _Batch, understand: Understand, page_of: PageOf) -> Response:
    """Reads to the end before it answers: clients that send first and read later do not hang."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != MEDIA_TYPE:
        raise WrongMediaType(MEDIA_TYPE)
    lines = Lines(request)
    spooled: list[bytes] = []
    waiting: deque[tuple[list[Read], asyncio.Future[list[BadgeOutcome | Refusal]]]] = deque()
    loop = asyncio.get_running_loop()

    async def spool() -> None:
        read, settling = waiting.popleft()
        spooled.append(await run_in_threadpool(batch.outcomes, read, await settling))

    # A thread of its own: one page follows upon the other at once.
    recording = ThreadPoolExecutor(1, "batch")
    try:
        async for some in lines.pages():
            # Pages are read while those before them are recorded.
            read, page = await run_in_threadpool(batch.read, some, understand, page_of)
            if len(waiting) == MOST_WAITING:
                await spool()
            waiting.append((read, loop.run_in_executor(recording, batch.settle, page)))
        while waiting:
            await spool()
    finally:
        # Whose request has ended has no more recorded than what is on its way.
        batch.ended = True
        for _, settling in waiting:
            if not settling.cancel():
                settling.exception()  # heard, so that nobody says it was not
        recording.shutdown(wait=False)
    if lines.too_large:
        raise lines.too_large
    if not spooled:
        raise InvalidInput(("", "has no line"))
    return StreamingResponse(map(zlib.decompress, spooled), media_type=MEDIA_TYPE)


@router.post(
    "/badge-batches",
    operation_id="awardBadges",
    summary="Award badges in bulk",
    responses=answers(400, 401, 403, 413, 415) | OUTCOMES,
    openapi_extra=takes_lines(AwardBody),
    response_class=StreamingResponse,
)
async def award_badges(request: Request, principal: Institution) -> Response:
    batch = _Batch(request, principal, "awarded")

    # Prepared here: that is done while the pages before are recorded.
    preparation = batch.registry.preparation()

    def understand(line: bytes) -> tuple[str, PreparedAward[AwardCommand]]:
        command = award_command(line, batch.today, batch.brin, batch.origin)
        return command.reference, preparation.prepare(command)

    return await _answer(request, batch, understand, batch.registry.awards)


@router.post(
    "/badge-revocations",
    operation_id="revokeBadges",
    summary="Revoke badges in bulk, for ever",
    responses=answers(400, 401, 403, 413, 415) | OUTCOMES,
    openapi_extra=takes_lines(BadgeRevocationBody),
    response_class=StreamingResponse,
)
async def revoke_badges(request: Request, principal: Institution) -> Response:
    batch = _Batch(request, principal, "revoked")

    def understand(line: bytes) -> tuple[str | None, RevocationCommand]:
        stated = parse(BadgeRevocationBody, line, {})
        badge_id = stated.id or batch.registry.badge_id(batch.brin, stated.reference or "")
        return stated.reference, RevocationCommand(
            batch.brin, badge_id, stated.reason, batch.origin, stated.effective_on, stated.note
        )

    return await _answer(request, batch, understand, batch.registry.revocations)

"""An institution's commands in bulk: NDJSON in, an outcome a line out, in the same order.

Each line stands by itself: what is right is recorded, what is wrong is refused. What was recorded
before a broken connection stands, and is `known` when the whole is sent again.
"""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from api.answers import BatchOutcome
from api.auth import brin
from api.bodies import Body, parse
from api.commands.badges import AwardBody
from api.commands.common import Institution, registry_of
from api.fields import Day, Note, Reference, Uuid
from api.lines import LONGEST_LINE, Line, Lines
from api.problems import WrongMediaType, described
from api.routes import answers, answers_lines, takes_lines
from registry.application import Registry
from registry.domain.errors import InvalidInput, Refusal
from registry.domain.institution import Origin
from registry.events import RevocationReason
from registry.pages import Settled
from registry.revocations import RevocationCommand
from registry.tokens import Principal

router = APIRouter(tags=["badges"])
MEDIA_TYPE = "application/x-ndjson"
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


Settle = Callable[[Sequence[Any]], Sequence[Settled]]


class _Batch:
    """What the pages of one request share."""

    def __init__(self, request: Request, principal: Principal, done: str) -> None:
        self.registry: Registry = registry_of(request)
        self.brin, self.done = brin(principal), done
        self.origin = Origin("batch", principal.token_id)
        self.today: dt.date = request.app.state.today()

    def outcomes(
        self, lines: Sequence[Line], settle: Callable[[Sequence[Body]], Sequence[Settled]], model: type[Body]
    ) -> bytes:
        """The outcomes of a page, as compressed NDJSON: kept in memory, since they hold references."""
        right: list[tuple[Line, Body]] = []
        refused: dict[int, Refusal] = {}
        for line in lines:
            try:
                right.append((line, self._parsed(line, model)))
            except Refusal as refusal:
                refused[line.number] = refusal
        settled = settle([body for _, body in right]) if right else ()
        results = {line.number: (body, each) for (line, body), each in zip(right, settled, strict=True)}
        outcomes = (self._outcome(line, results.get(line.number), refused.get(line.number)) for line in lines)
        return zlib.compress(b"".join(outcomes), 1)

    def _parsed(self, line: Line, model: type[Body]) -> Body:
        if line.text is None:
            raise InvalidInput(("", f"is a line of more than {LONGEST_LINE} bytes"))
        return parse(model, line.text, {"today": self.today})

    def _outcome(self, line: Line, result: tuple[Body, Settled] | None, refusal: Refusal | None) -> bytes:
        members: dict[str, Any] = {"line": line.number, "reference": None, "outcome": "refused"}
        if result is not None:
            members["reference"] = getattr(result[0], "reference", None)
            if isinstance(result[1], Refusal):
                refusal = result[1]
            elif isinstance(result[1], Exception):
                raise result[1]
            else:
                outcome = result[1]
                members["outcome"] = self.done if outcome.created else "known"
                members |= {"id": outcome.id, "learnerId": outcome.learner_id, "position": outcome.position}
        if refusal is not None:
            members["problem"] = described(refusal)
        return msgspec.json.encode(members) + b"\n"


async def _answer(request: Request, batch: _Batch, model: type[Body], settle: Settle) -> Response:
    """Reads to the end before it answers: clients that send first and read later do not hang."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != MEDIA_TYPE:
        raise WrongMediaType(MEDIA_TYPE)
    lines = Lines(request)
    spooled: list[bytes] = []
    async for page in lines.pages():
        spooled.append(await run_in_threadpool(batch.outcomes, page, settle, model))
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

    def settle(bodies: Sequence[AwardBody]) -> Sequence[Settled]:
        return batch.registry.award_badges([each.command(batch.brin, batch.origin) for each in bodies])

    return await _answer(request, batch, AwardBody, settle)


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

    def command(line: BadgeRevocationBody) -> RevocationCommand:
        badge_id = line.id or batch.registry.badge_id(batch.brin, line.reference or "")
        return RevocationCommand(
            batch.brin, badge_id, line.reason, batch.origin, line.effective_on, line.note
        )

    def settle(bodies: Sequence[BadgeRevocationBody]) -> Sequence[Settled]:
        return batch.registry.revoke_badges([command(each) for each in bodies])

    return await _answer(request, batch, BadgeRevocationBody, settle)

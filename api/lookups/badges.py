"""Look-ups of badges: the status for anyone, the rest for the institution, the learner and auditors.

Read models hold no private parts. These are read from the vault for each answer, for the badge's
institution and learner only, under the same row-level security.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from msgspec.structs import asdict, replace
from starlette.concurrency import run_in_threadpool

from api.http.as_of import AsOfParameter, HeldAsOf
from api.http.auth import authenticate, brin
from api.http.openapi import answers
from api.http.parameters import BadgeId
from api.http.problems import NotFound, NotReady
from api.http.reading import held_by, reading_of
from api.http.responses import (
    BadgeAnswer,
    BadgeModule,
    EvidenceAnswer,
    History,
    LearnerAnswer,
    SaltsAnswer,
    StatusAnswer,
    StatusReason,
    answered,
    extent_headers,
    json_answer,
)
from api.http.service import service_of
from api.lookups.catalogue import content_of
from api.lookups.common import InstitutionOrAuditor, Reader, asker, is_id, readable
from projections.badges.projection import BadgeRow, StatusRow
from projections.badges.queries import RecordedStatus, has_skip, read_badge, read_statuses, rows_after
from projections.catalogue.queries import VersionedModule, read_module
from projections.read_model import asking
from registry.domain.events import BadgeAwarded, BadgeRevoked, BadgeSuspended, canonical
from registry.domain.private_parts import PrivateParts, Salts
from registry.event_store.log import Extent, LoggedEvent, extent_of, last_position, read_streams
from registry.postgres.connections import Cursor, Pool
from registry.tokens import tokens_of

router = APIRouter(tags=["badges"])


@router.get(
    "/badges/{id}/status",
    operation_id="getBadgeStatus",
    summary="The status of a badge",
    description=(
        "For anyone; `asOf` is for auditors only. The status includes everything recorded, however far behind"
        " the read models are."
    ),
    responses=answers(400, 401, 403, 404, ok=StatusAnswer),
    openapi_extra={"security": [{}, {"token": []}]},
    dependencies=[Depends(held_by())],
)
async def get_status(request: Request, badge_id: BadgeId, as_of: AsOfParameter) -> Response:
    if not is_id(badge_id):
        raise NotFound("badge")
    row: StatusRow | None
    with readable():
        if as_of is None:
            extent, recorded = await reading_of(request).statuses.find(badge_id)
            row, moment = recorded[badge_id].row_now(), service_of(request).now()
        else:
            row = await run_in_threadpool(_row_as_of, request, badge_id, as_of)
            extent, moment = as_of, as_of.time
    if row is None:
        raise NotFound("badge", extent_headers(extent))
    status, since = row.status(moment)
    return answered(
        StatusAnswer(
            id=row.id,
            status=status,
            since=since,
            institution=row.institution,
            position=row.last_position,
            as_of=moment,
        ),
        extent=extent,
    )


@router.get(
    "/badges/{id}",
    operation_id="getBadge",
    summary="A badge, with the module as it was when awarded",
    responses=answers(400, 401, 403, 404, ok=BadgeAnswer),
    dependencies=[Depends(authenticate), Depends(held_by("badges", "catalogue"))],
)
def get_badge(request: Request, badge_id: BadgeId, principal: Reader, as_of: HeldAsOf) -> Response:
    if not is_id(badge_id):
        raise NotFound("badge")
    with asking(reading_of(request).pool, asker(principal)) as database, readable():
        extent, row = read_badge(database, asker(principal), badge_id)
        if as_of is not None:
            extent, row = as_of, row_as_of(database, badge_id, as_of)
        elif row is not None and has_skip(database, badge_id):
            row = row_as_of(database, badge_id, extent)
        if row is None:
            raise NotFound("badge", extent_headers(extent))
        _, module = read_module(database, row.module_id, row.module_version)
        # All of one position: a later correction or note is not shown beside an earlier row.
        vault = reading_of(request).vault
        private = vault.read_awards(database, [badge_id], row.last_position).get(badge_id)
        notes = vault.read_notes(database, badge_id, row.last_position)
    if module is None:
        raise NotReady("The catalogue does not have the badge's module yet; try again soon.")
    moment = service_of(request).now() if as_of is None else as_of.time
    badge = _badge(row, _module(module), private or PrivateParts(salts=Salts()), notes, moment)
    return answered(badge, extent=extent)


@router.get(
    "/badges/{id}/history",
    operation_id="getBadgeHistory",
    summary="A badge's events, in order, as they were recorded",
    description="An institution reads those of its own badges, with its own tokens alone as `client`.",
    responses=answers(400, 401, 403, 404, ok=History),
    dependencies=[Depends(authenticate), Depends(held_by())],
)
def get_history(request: Request, badge_id: BadgeId, principal: InstitutionOrAuditor) -> Response:
    with reading_of(request).pool.cursor() as database:
        extent = extent_of(database, last_position(database))
        events = read_streams(database, [badge_id], extent.position) if is_id(badge_id) else []
        if principal.role == "institution":
            events = _own(database, events, brin(principal))
    if not events or events[0].type != BadgeAwarded.TYPE:
        raise NotFound("badge", extent_headers(extent))
    items = b",".join(event.line().rstrip() for event in events)
    return json_answer(b'{"items":[%s]}' % items, extent)


def _own(database: Cursor, events: list[LoggedEvent], institution: str) -> list[LoggedEvent]:
    """The events if the badge is the institution's, without clients other than the institution's tokens."""
    stated = [msgspec.json.decode(event.data) for event in events]
    if not stated or stated[0].get("institution") != institution:
        return []
    clients = tokens_of(database, institution, [data["client"] for data in stated])
    return [
        event if data.pop("client") in clients else replace(event, data=canonical(data))
        for event, data in zip(events, stated, strict=True)
    ]


def statuses(pool: Pool, badge_ids: Sequence[str]) -> tuple[Extent, dict[str, RecordedStatus]]:
    """What the checks of statuses share that wait at the same moment."""
    with pool.cursor() as database:
        return read_statuses(database, badge_ids)


def _row_as_of(request: Request, badge_id: str, as_of: Extent) -> BadgeRow | None:
    with reading_of(request).pool.cursor() as database:
        return row_as_of(database, badge_id, as_of)


def row_as_of(database: Cursor, badge_id: str, as_of: Extent) -> BadgeRow | None:
    """The badge as recorded by `as_of`, folded from its events; None if the id is not that of a badge."""
    events = [logged.event() for logged in read_streams(database, [badge_id], as_of.position)]
    if not events or not isinstance(events[0].data, BadgeAwarded):
        return None
    return rows_after(events).get(badge_id)


def _module(row: VersionedModule) -> BadgeModule:
    members = {
        "id": row.module.id,
        "version": row.version.version,
        "reference": row.module.reference,
        "contentHash": row.version.content_hash,
    }
    return BadgeModule.model_validate(content_of(row.version) | members)


def _badge(
    row: BadgeRow,
    module: BadgeModule,
    private: PrivateParts,
    notes: dict[str, PrivateParts],
    moment: dt.datetime,
) -> BadgeAnswer:
    status, since = row.status(moment)
    suspension = revocation = None
    nothing = PrivateParts(salts=Salts())
    if row.suspended_since is not None:
        noted = notes.get(BadgeSuspended.TYPE, nothing)
        suspension = StatusReason(
            reason=row.suspended_for or "",
            since=row.suspended_since,
            note=noted.note,
            note_salt=noted.salts.note,
        )
    if row.revoked_since is not None:
        noted = notes.get(BadgeRevoked.TYPE, nothing)
        revocation = StatusReason(
            reason=row.revoked_for or "",
            since=row.revoked_since,
            effective_on=row.effective_on,
            note=noted.note,
            note_salt=noted.salts.note,
        )
    recipient, evidence = private.recipient, private.evidence
    return BadgeAnswer(
        id=row.id,
        status=status,
        since=since,
        institution=row.institution,
        learner_id=row.learner_id,
        module=module,
        awarded_on=row.awarded_on,
        valid_until=row.valid_until,
        supersedes=row.supersedes,
        suspension=suspension,
        revocation=revocation,
        learner=LearnerAnswer(**asdict(recipient)) if recipient else None,
        reference=private.reference,
        grade=private.grade,
        evidence=None if evidence is None else [EvidenceAnswer(**asdict(item)) for item in evidence],
        salts=_salts(private.salts),
        position=row.last_position,
    )


def _salts(salts: Salts) -> SaltsAnswer | None:
    if salts.recipient is None:
        return None
    return SaltsAnswer(
        recipient=salts.recipient, reference=salts.reference, grade=salts.grade, evidence=salts.evidence
    )

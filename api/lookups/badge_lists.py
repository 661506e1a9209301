"""Lists of badges, newest award first: of a learner, an institution or a module."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Depends, Query, Request, Response

from api.http import cursors
from api.http.as_of import HeldAsOf
from api.http.auth import Allow, authenticate
from api.http.cursors import CursorParameter, Limit
from api.http.fields import AskedReference, Day
from api.http.openapi import answers
from api.http.parameters import LearnerId, ModuleId
from api.http.problems import Forbidden, NotFound
from api.http.reading import held_by, reading_of
from api.http.responses import (
    BadgeItem,
    BadgeList,
    ModuleShort,
    answered,
    extent_headers,
)
from api.http.service import service_of
from api.lookups.common import MAX_POSITION, InstitutionOrAuditor, Reader, asker, is_id, readable
from projections.badges.queries import (
    Filter,
    ListedBadge,
    OwnerColumn,
    end_of_look,
    list_badges,
    list_badges_as_of,
    module_on_award,
)
from projections.catalogue.queries import read_institution, read_module
from projections.read_model import asking
from registry.domain.badge import Status
from registry.domain.errors import InvalidInput, ModuleOfAnother
from registry.event_store.log import Extent
from registry.event_store.vault import Owner, Vault
from registry.tokens import Principal

# In this order: only an authenticated client may wait for a position.
router = APIRouter(
    tags=["badges"], dependencies=[Depends(authenticate), Depends(held_by("badges", "catalogue"))]
)


class Filters(NamedTuple):
    """The filters of a request, as they were sent."""

    reference: str | None
    status: Status | None
    awarded_from: dt.date | None
    awarded_until: dt.date | None


def filters(
    reference: Annotated[AskedReference | None, Query()] = None,
    status: Annotated[Status | None, Query(description="As of now.")] = None,
    awarded_from: Annotated[
        Day | None, Query(alias="awardedFrom", description="The first day, inclusive.")
    ] = None,
    awarded_until: Annotated[
        Day | None, Query(alias="awardedUntil", description="The last day, inclusive.")
    ] = None,
) -> Filters:
    """A dependency: which badges of an institution or a module are wanted."""
    return Filters(reference, status, awarded_from, awarded_until)


Stated = Annotated[Filters, Depends(filters)]


@router.get(
    "/learners/me",
    operation_id="getMe",
    summary="The badges of the learner who asks, newest first",
    responses=answers(400, 401, 403, ok=BadgeList),
)
def get_me(
    request: Request,
    principal: Annotated[Principal, Depends(Allow("learner"))],
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Response:
    if principal.learner_id is None:
        raise Forbidden
    return _list(request, principal, ("learner_id", principal.learner_id), Filter(), None, limit, cursor)


@router.get(
    "/learners/{learnerId}/badges",
    operation_id="listLearnerBadges",
    summary="A learner's badges, newest first; an institution sees only those it awarded",
    responses=answers(400, 401, 403, 404, ok=BadgeList),
)
def list_learner_badges(
    request: Request,
    learner_id: LearnerId,
    principal: Reader,
    as_of: HeldAsOf,
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Response:
    if principal.role == "learner" and principal.learner_id != learner_id:
        raise Forbidden("The token of a learner shows the badges of that learner only.")
    return _list(request, principal, ("learner_id", learner_id), Filter(), as_of, limit, cursor)


@router.get(
    "/institutions/{brin}/badges",
    operation_id="listInstitutionBadges",
    summary="An institution's badges, newest first",
    responses=answers(400, 401, 403, 404, ok=BadgeList),
)
def list_institution_badges(
    request: Request,
    brin: str,
    principal: InstitutionOrAuditor,
    as_of: HeldAsOf,
    stated: Stated,
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Response:
    if principal.role == "institution" and principal.institution != brin:
        raise Forbidden("The token of an institution shows the badges of that institution only.")
    with reading_of(request).pool.cursor() as database:
        extent, row = read_institution(database, brin)
        if row is None:
            raise NotFound("institution", extent_headers(extent))
    wanted = _filter(request, principal, brin, stated)
    return _list(request, principal, ("institution", brin), wanted, as_of, limit, cursor)


@router.get(
    "/modules/{moduleId}/badges",
    operation_id="listModuleBadges",
    summary="A module's badges, newest first",
    responses=answers(400, 401, 403, 404, ok=BadgeList),
)
def list_module_badges(
    request: Request,
    module_id: ModuleId,
    principal: InstitutionOrAuditor,
    as_of: HeldAsOf,
    stated: Stated,
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Response:
    if not is_id(module_id):
        raise NotFound("module")
    with reading_of(request).pool.cursor() as database:
        extent, versioned = read_module(database, module_id)
    if versioned is None:
        raise NotFound("module", extent_headers(extent))
    owner = versioned.module.institution
    if principal.role == "institution" and principal.institution != owner:
        raise ModuleOfAnother
    wanted = _filter(request, principal, owner, stated)
    return _list(request, principal, ("module_id", module_id), wanted, as_of, limit, cursor)


def _filter(request: Request, principal: Principal, brin: str, stated: Filters) -> Filter:
    """The filter. No read model holds a reference: the badge is found by the id that follows from it."""
    reference = stated.reference
    if reference is not None and principal.role == "auditor":
        raise InvalidInput(
            ("/reference", "must be left out by an auditor, because it is private; ask by badge id")
        )
    badge_id = None
    if reference is not None:
        badge_id = reading_of(request).keys.made_id("badge", brin, reference)
    return Filter(badge_id, stated.status, stated.awarded_from, stated.awarded_until)


def _list(
    request: Request,
    principal: Principal,
    owned: tuple[OwnerColumn, str],
    wanted: Filter,
    as_of: Extent | None,
    limit: int,
    cursor: str | None,
) -> Response:
    asked = cursors.list_of(request)
    before = cursors.decode_position(asked, cursor, MAX_POSITION)
    if as_of is not None:
        before = min(before, as_of.position + 1)
    reader = asker(principal)
    with asking(reading_of(request).pool, reader) as database, readable():
        end = end_of_look(database, owned, wanted, before)
        if as_of is None:
            moment = service_of(request).now()
            extent, found = list_badges(database, reader, owned, wanted, moment, before, limit + 1, end)
        else:
            extent, moment = as_of, as_of.time
            found = list_badges_as_of(database, reader, owned, wanted, as_of, before, limit + 1, end)
    shown, following = cursors.page(asked, found, limit, lambda badge: badge.row.award_position)
    if following is None and end:
        following = cursors.encode(asked, end)
    items = [_item(badge, reading_of(request).vault, moment) for badge in shown]
    return answered(BadgeList(items=items, next=following), extent=extent)


def _item(badge: ListedBadge, vault: Vault, moment: dt.datetime) -> BadgeItem:
    row, sealed = badge
    owner = Owner(f"{row.id}/1", row.institution, row.learner_id)
    reference = None if sealed is None else vault.open(owner, sealed).reference
    status, since = row.status(moment)
    short = module_on_award(row)
    return BadgeItem(
        id=row.id,
        status=status,
        since=since,
        institution=row.institution,
        learner_id=row.learner_id,
        module=ModuleShort(
            id=row.module_id,
            version=row.module_version,
            name=short.name,
            study_load=short.study_load,
            level=short.level,
        ),
        awarded_on=row.awarded_on,
        valid_until=row.valid_until,
        reference=reference,
        position=row.award_position,
    )

"""The public catalogue: institutions and modules."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from api.http import cursors
from api.http.as_of import CatalogueAsOf
from api.http.cursors import CursorParameter, Limit
from api.http.entity_tags import Tagged, tagged
from api.http.fields import AskedReference
from api.http.openapi import answers
from api.http.parameters import ModuleId
from api.http.problems import NotFound
from api.http.reading import held_by, reading_of
from api.http.responses import (
    InstitutionAnswer,
    InstitutionList,
    ModuleAnswer,
    ModuleList,
    extent_headers,
)
from api.http.service import service_of
from api.lookups.common import is_id, readable
from projections.catalogue import queries
from projections.catalogue.projection import InstitutionRow, VersionRow
from projections.catalogue.queries import ModuleFilter, VersionedModule
from registry.domain.values import BRIN, iso_time
from registry.event_store.log import Extent
from registry.postgres.connections import Pool

router = APIRouter(tags=["catalogue"], dependencies=[Depends(held_by("catalogue"))])
FOR_ANYONE: dict[str, Any] = {
    "description": "For anyone; `asOf` is for auditors only.",
    "security": [{}, {"token": []}],
}


@router.get(
    "/institutions",
    operation_id="listInstitutions",
    summary="The institutions, in the order of their BRIN",
    responses=answers(304, 400, 401, 403, ok=InstitutionList),
    openapi_extra=FOR_ANYONE,
)
def list_institutions(
    request: Request, as_of: CatalogueAsOf, limit: Limit = 50, cursor: CursorParameter = None
) -> Response:
    asked = cursors.list_of(request)
    after = "" if cursor is None else cursors.decode(asked, cursor, BRIN)
    with reading_of(request).pool.cursor() as database, readable():
        if as_of is None:
            extent, rows = queries.list_institutions(database, after, limit + 1)
        else:
            extent, rows = as_of, queries.list_institutions_as_of(database, after, limit + 1, as_of)
    shown, following = cursors.page(asked, rows, limit, lambda row: row.brin)
    items = [_institution(row) for row in shown]
    return tagged(request, InstitutionList(items=items, next=following), extent)


@router.get(
    "/institutions/{brin}",
    operation_id="getInstitution",
    summary="One institution",
    responses=answers(304, 400, 401, 403, 404, ok=InstitutionAnswer),
    openapi_extra=FOR_ANYONE,
)
def get_institution(request: Request, brin: str, as_of: CatalogueAsOf) -> Response:
    with reading_of(request).pool.cursor() as database, readable():
        if as_of is None:
            extent, row = queries.read_institution(database, brin)
        else:
            extent, row = as_of, queries.read_institution_as_of(database, brin, as_of)
    if row is None:
        raise NotFound("institution", extent_headers(extent))
    return tagged(request, _institution(row), extent)


@router.get(
    "/modules",
    operation_id="listModules",
    summary="The modules in their latest versions, in the order of registration",
    responses=answers(304, 400, 401, 403, ok=ModuleList),
    openapi_extra=FOR_ANYONE,
)
async def list_modules(
    request: Request,
    as_of: CatalogueAsOf,
    institution: Annotated[str | None, Query(max_length=4, description="A BRIN.")] = None,
    reference: Annotated[AskedReference | None, Query()] = None,
    withdrawn: Annotated[bool | None, Query(description="As of today, or of `asOf`.")] = None,
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Response:
    reading = reading_of(request)
    if (as_of, institution, reference, withdrawn, limit, cursor) == (
        None,
        None,
        None,
        None,
        FIRST_LIMIT,
        None,
    ):
        page = await reading.first_modules.find(None)
    else:
        asked = cursors.list_of(request)
        after = cursors.decode_position(asked, cursor, 0)
        wanted = ModuleFilter(institution, reference, withdrawn)
        at = service_of(request).now() if as_of is None else as_of
        page = await run_in_threadpool(_page_of_modules, reading.pool, asked, wanted, at, after, limit)
    return page.answer(request)


FIRST_LIMIT = 50
ALL_MODULES = cursors.list_at("/v1/modules")


class FirstModules:
    """The first page of all modules, for requests that wait at the same moment.

    The rows are read again only once the catalogue has moved. Its state is read before the rows: where they
    are newer than the state, they are read once more.
    """

    def __init__(self, pool: Pool, clock: Callable[[], dt.datetime]) -> None:
        self._pool, self._clock = pool, clock
        self._made: tuple[str, Tagged] | None = None

    def __call__(self, _: object) -> Tagged:
        with self._pool.cursor() as database:
            extent, state = queries.read_state(database)
        if self._made is not None and self._made[0] == state:
            return self._made[1].through(extent)
        page = _page_of_modules(self._pool, ALL_MODULES, ModuleFilter(), self._clock(), 0, FIRST_LIMIT)
        self._made = state, page
        return page


def _page_of_modules(
    pool: Pool, asked: str, wanted: ModuleFilter, at: dt.datetime | Extent, after: int, limit: int
) -> Tagged:
    """A page of the catalogue as it is, at a moment, or as it was; `asked` is the list of its cursors."""
    with pool.cursor() as database:
        if isinstance(at, Extent):
            extent, (rows, more) = at, queries.list_modules_as_of(database, wanted, at, after, limit)
        else:
            extent, rows, more = queries.list_modules(database, wanted, at, after, limit)
    following = cursors.encode(asked, rows[-1].module.position) if more else None
    items = b",".join([_module(row) for row in rows])
    return Tagged(b'{"items":[%s],"next":%s}' % (items, msgspec.json.encode(following)), extent)


@router.get(
    "/modules/{moduleId}",
    operation_id="getModule",
    summary="A module in its latest version",
    responses=answers(304, 400, 401, 403, 404, ok=ModuleAnswer),
    openapi_extra=FOR_ANYONE,
)
def get_module(request: Request, module_id: ModuleId, as_of: CatalogueAsOf) -> Response:
    return _answer_module(request, module_id, None, as_of)


@router.get(
    "/modules/{moduleId}/versions/{version}",
    operation_id="getModuleVersion",
    summary="A version of a module, which never changes",
    responses=answers(304, 400, 401, 403, 404, ok=ModuleAnswer),
    openapi_extra=FOR_ANYONE,
)
def get_module_version(
    request: Request,
    module_id: ModuleId,
    version: Annotated[int, Path(ge=1, le=1_000_000)],
    as_of: CatalogueAsOf,
) -> Response:
    return _answer_module(request, module_id, version, as_of)


def _answer_module(request: Request, module_id: str, version: int | None, as_of: Extent | None) -> Response:
    what = "module" if version is None else "module version"
    if not is_id(module_id):
        raise NotFound(what)
    with reading_of(request).pool.cursor() as database:
        if as_of is None:
            extent, row = queries.read_module(database, module_id, version)
        else:
            extent, row = as_of, queries.read_module_as_of(database, module_id, version, as_of)
    if row is None:
        raise NotFound(what, extent_headers(extent))
    return Tagged(_module(row), extent).answer(request)


def _institution(row: InstitutionRow) -> InstitutionAnswer:
    return InstitutionAnswer(
        brin=row.brin,
        name=row.name,
        name_en=row.name_en,
        kind=row.kind,
        schac_home=row.schac_home,
        admitted_from=row.admitted_from,
        admitted_until=row.admitted_until,
        suspended=row.suspended_since is not None,
        suspended_since=row.suspended_since,
        position=row.last_position,
    )


class _ModuleHead(msgspec.Struct, rename="camel", omit_defaults=True):
    """The members of a `ModuleAnswer` that are not of its content."""

    id: str
    institution: str
    reference: str
    version: int
    latest_version: int
    content_hash: str
    registered_at: str
    position: int
    withdrawn_from: dt.date | None = None


@functools.lru_cache(maxsize=500)
def _module(row: VersionedModule) -> bytes:
    """A `ModuleAnswer` as JSON: the stored content is JSON already, and is not read to be written again.

    The catalogue changes seldom and its first pages are asked often: a row is encoded once until it changes.
    """
    module, version = row
    head = _ModuleHead(
        id=module.id,
        institution=module.institution,
        reference=module.reference,
        version=version.version,
        latest_version=module.latest,
        content_hash=version.content_hash,
        registered_at=iso_time(version.registered_at),
        position=module.last_position,
        withdrawn_from=module.withdrawn_from,
    )
    return b"%s,%s" % (msgspec.json.encode(head)[:-1], version.content.encode()[1:])


def content_of(version: VersionRow) -> dict[str, Any]:
    content: dict[str, Any] = msgspec.json.decode(version.content)
    return content

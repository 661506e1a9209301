"""Statistics, for statisticians and of its own awards for an institution: exact figures at a position."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from api.http.auth import Allow, brin
from api.http.csv_answers import Separator, csv_answer
from api.http.fields import Day
from api.http.openapi import answers
from api.http.reading import held_by, reading_of
from api.http.responses import (
    Answer,
    Codebook,
    LearnerStatistics,
    RevocationStatistics,
    Statistics,
    answered,
    extent_headers,
)
from api.lookups.statistics_codebook import FILTERS, MEASURES, codebook
from projections.catalogue.queries import names_of
from projections.read_model import position as position_of
from projections.statistics.queries import (
    ASKED,
    DIMENSIONS,
    HOLDING_DIMENSIONS,
    REVOCATION_DIMENSIONS,
    Figures,
    Period,
    figures_at,
    holdings_at,
    learners_at,
    revocations_at,
)
from registry.domain.errors import InvalidInput
from registry.domain.values import day_in_amsterdam, midnight_after
from registry.event_store.log import extent_of, position_at
from registry.postgres.connections import Cursor, Pool
from registry.tokens import Principal

READERS = Allow("statistician", "institution")
Reader = Annotated[Principal, Depends(READERS)]
router = APIRouter(tags=["statistics"], dependencies=[Depends(READERS)])

LAST_DAY = dt.date(9998, 12, 31)
MAX_DIMENSIONS = 3
DEFAULT_MEASURES = [name for name in MEASURES if name != "learners"]
_MICROSECOND = dt.timedelta(microseconds=1)


def _responses(answer: type[Answer]) -> dict[int | str, dict[str, Any]]:
    responses = answers(400, 401, 403, ok=answer)
    responses[200]["content"] = {"text/csv": {"schema": {"type": "string"}}}
    return responses


def _names_pattern(names: Iterable[str], maximum: int) -> str:
    """The form of a comma-separated list of these names; an empty one counts as absent."""
    name = f"({'|'.join(names)})"
    return f"^({name}(,{name}){{0,{maximum - 1}}})?$"


def _group_by(dimensions: Collection[str]) -> Any:
    """The parameter `groupBy` of a call with these dimensions."""
    most = min(MAX_DIMENSIONS, len(dimensions))
    return Query(
        alias="groupBy",
        max_length=100,
        description=f"Dimensions, separated by commas: at most {most} of {', '.join(dimensions)}.",
        json_schema_extra={"pattern": _names_pattern(dimensions, most)},
    )


@dataclass(frozen=True)
class Moment:
    """The position of the figures, by default the newest; `as_of` is the day that was asked for."""

    position: int | None = None
    as_of: dt.date | None = None


async def _moment(
    request: Request,
    position: Annotated[int | None, Query(ge=0, le=2**53, description=FILTERS["position"])] = None,
    as_of: Annotated[Day | None, Query(alias="asOf", description=FILTERS["asOf"])] = None,
) -> Moment:
    """A dependency: the position of the figures, once the read model holds it."""
    reading, pointer = reading_of(request), "/position"
    if as_of is not None:
        if position is not None:
            raise InvalidInput(("/asOf", "must not be given with position; leave one of them out"))
        position, pointer = await run_in_threadpool(_end_of, reading.pool, as_of), "/asOf"
    if position is not None:
        await reading.positions.wait(["statistics"], position, pointer)
    return Moment(position, as_of)


def _end_of(pool: Pool, day: dt.date) -> int:
    """The last position that was recorded by the end of a day in Amsterdam."""
    with pool.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (now,) = cursor.fetchone() or (None,)
        if now is None or day > day_in_amsterdam(now):
            raise InvalidInput(("/asOf", "must not be after today"))
        return position_at(cursor, midnight_after(day) - _MICROSECOND)


@dataclass(frozen=True)
class Form:
    """How an answer is written."""

    media: Literal["json", "csv"]
    separator: Separator


def _form(
    form: Annotated[
        Literal["json", "csv"], Query(alias="format", description="`csv` is read as the codebook says.")
    ] = "json",
    separator: Annotated[Separator, Query(description="Between the cells of CSV.")] = ",",
) -> Form:
    return Form(form, separator)


AskedMoment = Annotated[Moment, Depends(_moment)]
AskedForm = Annotated[Form, Depends(_form)]
From = Annotated[Day | None, Query(alias="from", description=FILTERS["from"])]
Until = Annotated[Day | None, Query(alias="until", description=FILTERS["until"])]
HELD = [Depends(held_by("statistics"))]


@router.get(
    "/statistics/awards",
    operation_id="getAwardStatistics",
    summary="Figures of awards at a position of the log",
    responses=_responses(Statistics),
    dependencies=HELD,
)
def get_awards(
    request: Request,
    principal: Reader,
    moment: AskedMoment,
    form: AskedForm,
    group_by: Annotated[str, _group_by(DIMENSIONS)] = "",
    first: From = None,
    end: Until = None,
    measures: Annotated[
        str,
        Query(
            max_length=100,
            description="Measures, separated by commas; all except learners by default.",
            json_schema_extra={"pattern": _names_pattern(MEASURES, len(MEASURES))},
        ),
    ] = "",
) -> Response:
    groups, errors = _groups(group_by, DIMENSIONS)
    named, more = _names("/measures", measures, MEASURES, DEFAULT_MEASURES)
    period, wrong = _period(first, end)
    _refuse([*errors, *more, *wrong])

    def read(cursor: Cursor, at: int) -> list[dict[str, Any]]:
        figures = figures_at(cursor, groups, period, at, _own(principal))
        learners = {}
        if "learners" in named:
            learners = learners_at(cursor, groups, period, at, _own(principal))
        if not groups and not figures:
            figures = [Figures(0, 0, 0, 0, 0, 0, group=())]
        return [
            _grouped(groups, figure.group) | _measured(figure, learners.get(figure.group, 0), named)
            for figure in figures
        ]

    return _answer(request, moment, form, "awards", groups, named, read)


@router.get(
    "/statistics/revocations",
    operation_id="getRevocationStatistics",
    summary="Revocations by month, reason and institution, with the median of the days since the award",
    responses=_responses(RevocationStatistics),
    dependencies=HELD,
)
def get_revocations(
    request: Request,
    principal: Reader,
    moment: AskedMoment,
    form: AskedForm,
    group_by: Annotated[str, _group_by(REVOCATION_DIMENSIONS)] = "month,reason,institution",
    first: From = None,
    end: Until = None,
) -> Response:
    groups, errors = _groups(group_by, REVOCATION_DIMENSIONS)
    period, wrong = _period(first, end)
    _refuse([*errors, *wrong])

    def read(cursor: Cursor, at: int) -> list[dict[str, Any]]:
        return [
            _grouped(groups, row.group) | {"revoked": row.revoked, "medianDays": _number(row.median_days)}
            for row in revocations_at(cursor, groups, period, at, _own(principal))
        ]

    return _answer(request, moment, form, "revocations", groups, ["revoked", "medianDays"], read)


@router.get(
    "/statistics/learners",
    operation_id="getLearnerStatistics",
    summary="The number of learners by how many microcredentials they hold",
    responses=_responses(LearnerStatistics),
    dependencies=HELD,
)
def get_learners(
    request: Request,
    principal: Reader,
    moment: AskedMoment,
    form: AskedForm,
    group_by: Annotated[str, _group_by(HOLDING_DIMENSIONS)] = "",
) -> Response:
    groups, errors = _groups(group_by, HOLDING_DIMENSIONS)
    _refuse(errors)

    def read(cursor: Cursor, at: int) -> list[dict[str, Any]]:
        return [
            _grouped(groups, row.group) | {"microcredentials": row.held, "learners": row.learners}
            for row in holdings_at(cursor, groups, at, _own(principal))
        ]

    return _answer(request, moment, form, "learners", groups, ["microcredentials", "learners"], read)


@router.get(
    "/statistics/codebook",
    operation_id="getStatisticsCodebook",
    summary="The meaning of the names in the statistics, and how their CSV is read",
    responses=answers(400, 401, 403, ok=Codebook),
)
def get_codebook() -> Response:
    return answered(codebook())


def _own(principal: Principal) -> str | None:
    """The institution whose awards alone are counted; None for a statistician, who reads all."""
    return None if principal.role == "statistician" else brin(principal)


Errors = list[tuple[str, str]]


def _groups(text: str, known: Collection[str]) -> tuple[list[str], Errors]:
    groups, errors = _names("/groupBy", text, known, [])
    if len(groups) > MAX_DIMENSIONS:
        errors.append(("/groupBy", f"must name at most {MAX_DIMENSIONS} dimensions"))
    return groups, errors


def _names(pointer: str, text: str, known: Collection[str], default: list[str]) -> tuple[list[str], Errors]:
    """The names in a comma-separated list, and its errors."""
    names = text.split(",") if text else default
    errors = []
    if any(name not in known for name in names):
        errors.append((pointer, f"must name only {', '.join(known)}"))
    if len(names) != len(set(names)):
        errors.append((pointer, "must not name anything twice"))
    return names, errors


def _period(first: dt.date | None, end: dt.date | None) -> tuple[Period, Errors]:
    errors = [
        (pointer, f"must not be after {LAST_DAY}")
        for pointer, day in (("/from", first), ("/until", end))
        if day is not None and day > LAST_DAY
    ]
    if first is not None and end is not None and end <= first:
        errors.append(("/until", "must be after from"))
    return Period(first, end), errors


def _refuse(errors: Errors) -> None:
    if errors:
        raise InvalidInput(*errors)


@contextmanager
def _one_moment(pool: Pool) -> Iterator[Cursor]:
    """A transaction in which all queries see one moment, while the projector continues."""
    with pool.transaction() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        # The lock comes before the snapshot: a rebuild that swaps the tables waits from here on.
        cursor.execute(f"LOCK TABLE {', '.join(ASKED)} IN ACCESS SHARE MODE")
        yield cursor


def _answer(
    request: Request,
    moment: Moment,
    form: Form,
    name: str,
    groups: Sequence[str],
    measures: Sequence[str],
    read: Callable[[Cursor, int], list[dict[str, Any]]],
) -> Response:
    """The items that `read` finds at the position, as JSON or CSV."""
    with _one_moment(reading_of(request).pool) as cursor:
        at = position_of(cursor, "statistics") if moment.position is None else moment.position
        extent, items = extent_of(cursor, at), read(cursor, at)
    day = None if moment.as_of is None else moment.as_of.isoformat()
    if form.media == "json":
        body = {"position": at} | ({"asOf": day} if day else {}) | {"items": items}
        return Response(msgspec.json.encode(body), 200, extent_headers(extent), "application/json")
    named = [key for key in ("institution", "module") if key in groups]
    with reading_of(request).pool.cursor() as cursor:
        ids = {key: {item[key] for item in items} for key in named}
        names = names_of(cursor, ids.get("institution", ()), ids.get("module", ()))
    rows = [
        item | {f"{key}Name": names.get(item[key]) for key in named} | {"position": at, "asOf": day}
        for item in items
    ]
    columns = [
        column for group in groups for column in ([group, f"{group}Name"] if group in named else [group])
    ]
    file = "-".join([name, *groups, str(at)])
    answer = csv_answer([*columns, *measures, "position", "asOf"], rows, form.separator, file)
    answer.headers.update(extent_headers(extent))
    return answer


def _grouped(groups: Sequence[str], values: Sequence[str | None]) -> dict[str, Any]:
    return dict(zip(groups, values, strict=True))


def _measured(figures: Figures, learners: int, names: Sequence[str]) -> dict[str, int | float]:
    measured: dict[str, int | float] = {
        "awarded": figures.awarded,
        "revoked": figures.revoked,
        "superseded": figures.superseded,
        "active": figures.awarded - figures.revoked - figures.suspended,
        "ects": _number(figures.half_credits / 2),
        "sbu": figures.sbu,
        "learners": learners,
    }
    return {name: measured[name] for name in names}


def _number(halves: float) -> int | float:
    """An integer where it is whole."""
    return int(halves) if halves == int(halves) else halves

"""Statistics of awards, for statisticians: exact figures at a position, as JSON or CSV, and a codebook."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from api.http.auth import Allow
from api.http.fields import Day
from api.http.openapi import answers
from api.http.reading import held_by, reading_of
from api.http.responses import Codebook, CodebookEntry, Statistics, answered, extent_headers
from projections.read_model import position as position_of
from projections.statistics.queries import ASKED, DIMENSIONS, Figures, Period, figures_at, learners_at
from registry.domain.errors import InvalidInput
from registry.event_store.log import Extent, extent_of

router = APIRouter(tags=["statistics"], dependencies=[Depends(Allow("statistician"))])

LAST_DAY = dt.date(9998, 12, 31)
MAX_DIMENSIONS = 3
MEASURES = {
    "awarded": "Awards recorded by the position, including those later suspended or revoked.",
    "revoked": "Awards revoked by the position, whatever their `effectiveOn`.",
    "superseded": "Revoked awards that a later award, recorded by the position, names in `supersedes`;"
    " counted in the group of the revoked award.",
    "active": "`awarded` less `revoked` less suspended, by the position. Expiry never counts.",
    "ects": "ECTS credits of awards that are not revoked. Hours of study are never converted.",
    "sbu": "Hours of study (SBU) of awards that are not revoked. Credits are never converted.",
    "learners": "Distinct learners with an award, only if `measures` names it. Not additive over groups.",
}
DEFAULT_MEASURES = [name for name in MEASURES if name != "learners"]
DIMENSION_TEXTS = {
    "institution": "BRIN of the awarding institution.",
    "module": "Id of the module.",
    "month": "Month of `awardedOn`, `YYYY-MM`.",
    "sector": "The institution's sector on the award: `hbo`, `wo` or `mbo`.",
    "nlqf": "NLQF level on the award, `1` to `8` or `4+`; null if there is none.",
    "isced": "ISCED-F code on the award, two to four digits; null if there is none.",
    "programme": "Programme on the award; null if there is none.",
}
FILTERS = {
    "from": "First day of `awardedOn`, inclusive.",
    "until": "Last day of `awardedOn`, exclusive.",
    "position": "The position of the log at which the figures are computed; the newest if it is left out."
    " The figures at a position never change.",
}


RESPONSES = answers(400, 401, 403, ok=Statistics)
RESPONSES[200]["content"] = {"text/csv": {"schema": {"type": "string"}}}


@dataclass(frozen=True)
class Selection:
    """The groups, measures and days of a request, checked."""

    group_by: list[str]
    measures: list[str]
    period: Period


async def held_position(request: Request, position: int | None) -> None:
    """Waits until the read model holds `position`."""
    if position is not None:
        positions = reading_of(request).positions
        await positions.wait(["statistics"], position, "/position")


@router.get(
    "/statistics/awards",
    operation_id="getAwardStatistics",
    summary="Figures of awards at a position of the log",
    responses=RESPONSES,
    dependencies=[Depends(held_by("statistics"))],
)
async def get_awards(
    request: Request,
    group_by: Annotated[
        str,
        Query(alias="groupBy", max_length=100, description="Up to three dimensions, separated by commas."),
    ] = "",
    first: Annotated[Day | None, Query(alias="from", description=FILTERS["from"])] = None,
    end: Annotated[Day | None, Query(alias="until", description=FILTERS["until"])] = None,
    position: Annotated[int | None, Query(ge=0, le=2**53, description=FILTERS["position"])] = None,
    measures: Annotated[
        str,
        Query(max_length=100, description="Measures, separated by commas; all except learners by default."),
    ] = "",
    form: Annotated[Literal["json", "csv"], Query(alias="format")] = "json",
) -> Response:
    selection = _selection(group_by, measures, first, end)
    await held_position(request, position)
    extent, items = await run_in_threadpool(_read, request, selection, position)
    if form == "csv":
        return _csv(selection, extent, items)
    body = msgspec.json.encode({"position": extent.position, "items": items})
    return Response(body, 200, extent_headers(extent), "application/json")


@router.get(
    "/statistics/codebook",
    operation_id="getStatisticsCodebook",
    summary="The meaning of the dimensions, measures and filters of the statistics",
    responses=answers(401, 403, ok=Codebook),
)
def get_codebook() -> Response:
    def entries(texts: dict[str, str]) -> list[CodebookEntry]:
        return [CodebookEntry(name=name, description=text) for name, text in texts.items()]

    return answered(
        Codebook(dimensions=entries(DIMENSION_TEXTS), measures=entries(MEASURES), filters=entries(FILTERS))
    )


def _selection(group_by: str, measures: str, first: dt.date | None, end: dt.date | None) -> Selection:
    groups, errors = _names("/groupBy", group_by, DIMENSIONS, [])
    named, more = _names("/measures", measures, MEASURES, DEFAULT_MEASURES)
    errors += more
    if len(groups) > MAX_DIMENSIONS:
        errors.append(("/groupBy", f"must name at most {MAX_DIMENSIONS} dimensions"))
    errors += [
        (pointer, f"must not be after {LAST_DAY}")
        for pointer, day in (("/from", first), ("/until", end))
        if day is not None and day > LAST_DAY
    ]
    if first is not None and end is not None and end <= first:
        errors.append(("/until", "must be after from"))
    if errors:
        raise InvalidInput(*errors)
    return Selection(groups, named, Period(first, end))


def _names(
    pointer: str, text: str, known: dict[str, str], default: list[str]
) -> tuple[list[str], list[tuple[str, str]]]:
    """The names in a comma-separated list, and its errors."""
    names = text.split(",") if text else default
    errors = []
    if any(name not in known for name in names):
        errors.append((pointer, f"must name only {', '.join(known)}"))
    if len(names) != len(set(names)):
        errors.append((pointer, "must not name anything twice"))
    return names, errors


def _read(
    request: Request, selection: Selection, position: int | None
) -> tuple[Extent, list[dict[str, Any]]]:
    with reading_of(request).pool.transaction() as cursor:
        # All queries see one moment, while the projector continues.
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        # The lock comes before the snapshot: a rebuild that swaps the tables waits from here on.
        cursor.execute(f"LOCK TABLE {', '.join(ASKED)} IN ACCESS SHARE MODE")
        at = position_of(cursor, "statistics") if position is None else position
        extent = extent_of(cursor, at)
        figures = figures_at(cursor, selection.group_by, selection.period, at)
        learners = {}
        if "learners" in selection.measures:
            learners = learners_at(cursor, selection.group_by, selection.period, at)
    if not selection.group_by and not figures:
        figures = [Figures(0, 0, 0, 0, 0, 0, group=())]
    return extent, [_item(selection, group, learners.get(group.group, 0)) for group in figures]


def _item(selection: Selection, figures: Figures, learners: int) -> dict[str, Any]:
    whole, half = divmod(figures.half_credits, 2)
    measured: dict[str, int | float] = {
        "awarded": figures.awarded,
        "revoked": figures.revoked,
        "superseded": figures.superseded,
        "active": figures.awarded - figures.revoked - figures.suspended,
        "ects": whole + 0.5 if half else whole,
        "sbu": figures.sbu,
        "learners": learners,
    }
    groups = dict(zip(selection.group_by, figures.group, strict=True))
    return groups | {name: measured[name] for name in selection.measures}


def _csv(selection: Selection, extent: Extent, items: Sequence[dict[str, Any]]) -> Response:
    """RFC 4180 with a header line; an empty cell is null, and the position is in an HTTP header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [*selection.group_by, *selection.measures])
    writer.writeheader()
    writer.writerows(items)
    return Response(text.getvalue(), 200, extent_headers(extent), "text/csv; charset=utf-8")

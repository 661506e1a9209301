"""Statistics of awards, for statisticians: exact figures at a position, as JSON or CSV, with a codebook."""

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
from api.http.responses import Codebook, CodebookEntry, Statistics, answered
from projections.read_model import position as position_of
from projections.statistics.queries import ASKED, DIMENSIONS, Figures, Period, figures_at, learners_at
from registry.domain.errors import InvalidInput

router = APIRouter(tags=["statistics"], dependencies=[Depends(Allow("statistician"))])

LAST_DAY = dt.date(9998, 12, 31)
MOST_DIMENSIONS = 3
MEASURES = {
    "awarded": "Awards recorded by the position, whatever became of them.",
    "revoked": "Those of them that were revoked by the position, whatever the day from which that counts.",
    "superseded": "Those of the revoked that a later award names in `supersedes`, by the position; counted"
    " with the old award.",
    "active": "Awarded less revoked less suspended, by the position. Expiry never counts.",
    "ects": "ECTS credits of the awarded less the revoked; hours of study are never converted.",
    "sbu": "Hours of study (SBU) of the awarded less the revoked; credits are never converted.",
    "learners": "Distinct learners of the awarded; only where `measures` names it. Not additive over groups.",
}
USUAL = [name for name in MEASURES if name != "learners"]
SAID = {
    "institution": "BRIN of the awarding institution.",
    "module": "Id of the module.",
    "month": "Month of `awardedOn`, `YYYY-MM`.",
    "sector": "The institution's sector as the award states it: `hbo`, `wo` or `mbo`.",
    "nlqf": "NLQF level as the award states it, `1` to `8` or `4+`; null where it states none.",
    "isced": "ISCED-F code as the award states it, two to four digits; null where it states none.",
    "programme": "Programme as the award states it; null where it states none.",
}
FILTERS = {
    "from": "First day of `awardedOn`, inclusive.",
    "until": "Last day of `awardedOn`, exclusive.",
    "position": "The position of the log at which the figures stand; the newest where it is left out. Asked"
    " again for the same position they are the same, for ever.",
}


RESPONSES = answers(400, 401, 403, ok=Statistics)
RESPONSES[200]["content"] = {"text/csv": {"schema": {"type": "string"}}}


@dataclass(frozen=True)
class Asked:
    """What is asked, checked."""

    group_by: list[str]
    measures: list[str]
    period: Period


async def held_position(request: Request, position: int | None) -> None:
    """Waits until the read model holds the position that is asked for."""
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
        str, Query(alias="groupBy", max_length=100, description="Up to three dimensions, with commas.")
    ] = "",
    first: Annotated[Day | None, Query(alias="from", description=FILTERS["from"])] = None,
    end: Annotated[Day | None, Query(alias="until", description=FILTERS["until"])] = None,
    position: Annotated[int | None, Query(ge=0, le=2**53, description=FILTERS["position"])] = None,
    measures: Annotated[
        str, Query(max_length=100, description="Which measures, with commas; all but learners by default.")
    ] = "",
    form: Annotated[Literal["json", "csv"], Query(alias="format")] = "json",
) -> Response:
    asked = _checked(group_by, measures, first, end)
    await held_position(request, position)
    at, items = await run_in_threadpool(_read, request, asked, position)
    if form == "csv":
        return _csv(asked, at, items)
    return Response(msgspec.json.encode({"position": at, "items": items}), media_type="application/json")


@router.get(
    "/statistics/codebook",
    operation_id="getStatisticsCodebook",
    summary="What the dimensions, measures and filters of the statistics mean",
    responses=answers(401, 403, ok=Codebook),
)
def get_codebook() -> Response:
    def entries(said: dict[str, str]) -> list[CodebookEntry]:
        return [CodebookEntry(name=name, description=text) for name, text in said.items()]

    return answered(Codebook(dimensions=entries(SAID), measures=entries(MEASURES), filters=entries(FILTERS)))


def _checked(group_by: str, measures: str, first: dt.date | None, end: dt.date | None) -> Asked:
    groups, wrong = _names("/groupBy", group_by, DIMENSIONS, [])
    named, more = _names("/measures", measures, MEASURES, USUAL)
    wrong += more
    if len(groups) > MOST_DIMENSIONS:
        wrong.append(("/groupBy", f"names more than {MOST_DIMENSIONS} dimensions"))
    wrong += [
        (pointer, f"lies after {LAST_DAY}")
        for pointer, day in (("/from", first), ("/until", end))
        if day is not None and day > LAST_DAY
    ]
    if first is not None and end is not None and end <= first:
        wrong.append(("/until", "does not lie after from"))
    if wrong:
        raise InvalidInput(*wrong)
    return Asked(groups, named, Period(first, end))


def _names(
    pointer: str, text: str, known: dict[str, str], usual: list[str]
) -> tuple[list[str], list[tuple[str, str]]]:
    """The names in a comma-separated list, and what is wrong with it."""
    names = text.split(",") if text else usual
    wrong = []
    if any(name not in known for name in names):
        wrong.append((pointer, f"names what is not one of {', '.join(known)}"))
    if len(names) != len(set(names)):
        wrong.append((pointer, "names one twice"))
    return names, wrong


def _read(request: Request, asked: Asked, position: int | None) -> tuple[int, list[dict[str, Any]]]:
    with reading_of(request).pool.transaction() as cursor:
        # All that is read is as of one moment, while the projector goes on.
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        # Before that moment is taken: a rebuild may swap the tables, and waits from here on.
        cursor.execute(f"LOCK TABLE {', '.join(ASKED)} IN ACCESS SHARE MODE")
        at = position_of(cursor, "statistics") if position is None else position
        figures = figures_at(cursor, asked.group_by, asked.period, at)
        learners = (
            learners_at(cursor, asked.group_by, asked.period, at) if "learners" in asked.measures else {}
        )
    if not asked.group_by and not figures:
        figures = [Figures(0, 0, 0, 0, 0, 0, group=())]
    return at, [_item(asked, group, learners.get(group.group, 0)) for group in figures]


def _item(asked: Asked, figures: Figures, learners: int) -> dict[str, Any]:
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
    groups = dict(zip(asked.group_by, figures.group, strict=True))
    return groups | {name: measured[name] for name in asked.measures}


def _csv(asked: Asked, position: int, items: Sequence[dict[str, Any]]) -> Response:
    """RFC 4180 with a header line; an empty cell is null, and the position stands in a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [*asked.group_by, *asked.measures])
    writer.writeheader()
    writer.writerows(items)
    headers = {"Registry-Position": str(position)}
    return Response(text.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)

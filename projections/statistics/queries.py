"""Figures of awards: at any position of the log, by any of their dimensions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from projections.statistics.projection import BLOCK, NOW, SUMS, Cell, Sums
from projections.tables import columns
from registry.postgres.connections import Cursor

ASKED = ("statistics_cell", "statistics_sum", "statistics_change")
DIMENSIONS = {name: f"c.{name}" for name in columns(Cell)}


class Figures(Sums, frozen=True):
    """The figures of one group."""

    group: tuple[str | None, ...]


@dataclass(frozen=True)
class Period:
    """Days of award from `first` until (not including) `end`; None means without bound."""

    first: dt.date | None = None
    end: dt.date | None = None

    def whole_months(self) -> Period:
        """The months that lie wholly within it, as a period of whole months."""
        first = self.first
        if first is not None and first.day > 1:
            first = (first.replace(day=28) + dt.timedelta(days=4)).replace(day=1)
        return Period(first, self.end.replace(day=1) if self.end is not None else None)

    def condition(self, column: str) -> tuple[str, list[dt.date]]:
        """The period as SQL about a column of days or of first days of months."""
        bounds = [(f"{column} >= %s", self.first), (f"{column} < %s", self.end)]
        given = [(text, day) for text, day in bounds if day is not None]
        return " AND ".join(["true", *(text for text, _ in given)]), [day for _, day in given]


def figures_at(cursor: Cursor, group_by: Sequence[str], period: Period, position: int) -> list[Figures]:
    """The figures at a position that the read model holds, of each group that has an award."""
    parts = [*_of_whole_months(period, position), *_of_parts_of_months(period, position)]
    groups = [DIMENSIONS[name] for name in group_by]
    text = " UNION ALL ".join(text for text, _ in parts)
    cursor.execute(
        f"SELECT {', '.join([*groups, *(f'sum(f.{name})::bigint' for name in SUMS)])}"
        f" FROM ({text}) f JOIN statistics_cell c ON c.id = f.cell"
        + _grouped(len(groups), "sum(f.awarded) > 0"),
        [value for _, values in parts for value in values],
    )
    places = len(groups)
    # Without groups there is always one row, also of an empty register.
    return [
        Figures(**dict(zip(SUMS, row[places:], strict=True)), group=_group(row[:places]))
        for row in cursor.fetchall()
        if row[places]
    ]


def learners_at(
    cursor: Cursor, group_by: Sequence[str], period: Period, position: int
) -> dict[tuple[str | None, ...], int]:
    """Distinct learners by group: counted award by award, since they do not add up."""
    groups = [DIMENSIONS[name] for name in group_by]
    within, days = period.condition("f.day")
    cursor.execute(
        f"SELECT {', '.join([*groups, 'count(DISTINCT f.learner)'])}"
        " FROM statistics_change f JOIN statistics_cell c ON c.id = f.cell"
        f" WHERE f.awarded = 1 AND f.position <= %s AND {within}" + _grouped(len(groups), "true"),
        [position, *days],
    )
    return {_group(row[:-1]): row[-1] for row in cursor.fetchall()}


def _group(values: Sequence[Any]) -> tuple[str | None, ...]:
    """A group's values as they are shown: a month as `YYYY-MM`."""
    return tuple(value.isoformat()[:7] if isinstance(value, dt.date) else value for value in values)


def _grouped(count: int, having: str) -> str:
    numbers = ", ".join(str(number + 1) for number in range(count))
    return f" GROUP BY {numbers} HAVING {having} ORDER BY {numbers}" if count else ""


Part = tuple[str, list[Any]]
"""A query for a part of the figures, and its values."""


def _of_whole_months(period: Period, position: int) -> Iterable[Part]:
    """The current sums, less the changes after the position."""
    whole = period.whole_months()
    if whole.first is not None and whole.end is not None and whole.first >= whole.end:
        return
    within, days = whole.condition("month")
    cells = f"cell IN (SELECT id FROM statistics_cell WHERE {within})" if days else "true"
    block = (position - 1) // BLOCK if position else -1
    less = ", ".join(f"-{name} AS {name}" for name in SUMS)
    yield f"SELECT cell, {', '.join(SUMS)} FROM statistics_sum WHERE block = {NOW} AND {cells}", days
    yield f"SELECT cell, {less} FROM statistics_sum WHERE block > %s AND {cells}", [block, *days]
    yield (
        f"SELECT cell, {less} FROM statistics_change WHERE position > %s AND position <= %s AND {cells}",
        [position, (block + 1) * BLOCK, *days],
    )


def _of_parts_of_months(period: Period, position: int) -> Iterable[Part]:
    """The changes, by their day, in the months in which the period begins or ends."""
    edges = [day.replace(day=1) for day in (period.first, period.end) if day is not None and day.day > 1]
    if edges:
        within, days = period.condition("day")
        yield (
            f"SELECT cell, {', '.join(SUMS)} FROM statistics_change WHERE position <= %s AND {within}"
            " AND cell IN (SELECT id FROM statistics_cell WHERE month = ANY(%s))",
            [position, *days, edges],
        )

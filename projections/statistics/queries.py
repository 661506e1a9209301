"""Figures of awards, of revocations and of learners: at any position of the log."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from projections.read_model import Condition
from projections.statistics.tables import CELL_DIMENSIONS, NOW, SUMS, Sums, block_of, dimension_bits, end_of
from registry.postgres.connections import Cursor

ASKED = (
    "statistics_cell",
    "statistics_sum",
    "statistics_overlap",
    "statistics_repeat",
    "statistics_holding",
    "statistics_change",
)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


_COLUMN_OF = {_camel(name): name for name in CELL_DIMENSIONS}
DIMENSIONS = {name: f"c.{column}" for name, column in _COLUMN_OF.items()}
_REVOKED = "f.recorded_on"
REVOCATION_DIMENSIONS = {
    "month": f"to_char({_REVOKED}, 'YYYY-MM')",
    "quarter": f"to_char({_REVOKED}, 'YYYY-\"Q\"Q')",
    "year": f"to_char({_REVOKED}, 'YYYY')",
    "reason": "f.reason",
    "institution": "c.institution",
}
HOLDING_DIMENSIONS = {"institution": "h.institution"}

Group = tuple[str | None, ...]


class Figures(Sums, frozen=True):
    """The figures of one group."""

    group: Group


@dataclass(frozen=True)
class Revocations:
    """How many badges were revoked, and the median of the days from `awardedOn` to the revocation."""

    group: Group
    revoked: int
    median_days: float


@dataclass(frozen=True)
class Holding:
    """How many learners hold this many microcredentials."""

    group: Group
    held: int
    learners: int


@dataclass(frozen=True)
class Period:
    """Days from `first` until (not including) `end`; None means without bound."""

    first: dt.date | None = None
    end: dt.date | None = None

    def whole_months(self) -> Period:
        """The months that lie wholly within it, as a period of whole months."""
        first = self.first
        if first is not None and first.day > 1:
            first = _next_month(first)
        return Period(first, self.end.replace(day=1) if self.end is not None else None)

    def condition(self, column: str) -> Condition:
        """The period as SQL about a column of days or of first days of months."""
        bounds = [(f"{column} >= %s", self.first), (f"{column} < %s", self.end)]
        given = [(text, day) for text, day in bounds if day is not None]
        return " AND ".join(["true", *(text for text, _ in given)]), [day for _, day in given]


Part = tuple[str, list[Any]]
"""A query for a part of the figures, and its values."""
ANY: Condition = ("true", [])


def figures_at(
    cursor: Cursor, group_by: Sequence[str], period: Period, position: int, institution: str | None = None
) -> list[Figures]:
    """The figures at a position that the read model holds, of each group that has an award.

    `institution`: of the awards of this one alone.
    """
    own = _of(institution)
    parts = [
        *_of_whole_months(cursor, period, position, own),
        *_of_parts_of_months(period, position, own),
    ]
    groups = [DIMENSIONS[name] for name in group_by]
    text, values = _united(parts)
    cursor.execute(
        f"SELECT {', '.join([*groups, *(f'sum(f.{name})::bigint' for name in SUMS)])}"
        f" FROM ({text}) f JOIN statistics_cell c ON c.id = f.cell"
        + _grouped(len(groups), "sum(f.awarded) > 0"),
        values,
    )
    places = len(groups)
    # Without groups there is always one row, also of an empty register.
    return [
        Figures(**dict(zip(SUMS, row[places:], strict=True)), group=_group(row[:places]))
        for row in cursor.fetchall()
        if row[places]
    ]


def learners_at(
    cursor: Cursor, group_by: Sequence[str], period: Period, position: int, institution: str | None = None
) -> dict[Group, int]:
    """Distinct learners by group.

    The repeats within a group are known where the group has all days of the awards that it shares: without a
    period, or where a dimension of the calendar makes up the period. Otherwise the awards of the period are
    counted one by one.
    """
    unit = _calendar_unit(period, group_by)
    period = _bounding(cursor, period)
    unit = unit or _calendar_unit(period, group_by)
    if period == Period() or unit is not None:
        shared = {*group_by, *([unit] if unit is not None else [])}
        return _first_awards(cursor, group_by, shared, period, position, institution)
    groups = [f"{DIMENSIONS[name]} AS g{place}" for place, name in enumerate(group_by)]
    within, days = period.condition("f.day")
    own, brin = _cells(_of(institution))
    cursor.execute(
        f"SELECT {', '.join([*(f'g{place}' for place in range(len(groups))), 'count(*)'])} FROM ("
        f"SELECT DISTINCT {', '.join([*groups, 'f.learner'])}"
        " FROM statistics_change f JOIN statistics_cell c ON c.id = f.cell"
        f" WHERE f.awarded = 1 AND f.position <= %s AND {within} AND {own}) d"
        + _grouped(len(groups), "true"),
        [position, *days, *brin],
    )
    return {_group(row[:-1]): row[-1] for row in cursor.fetchall()}


def _bounding(cursor: Cursor, period: Period) -> Period:
    """The period without a bound that leaves no award out."""
    if period == Period():
        return period
    cursor.execute("SELECT min(month), (max(month) + interval '1 month')::date FROM statistics_cell")
    begin, end = cursor.fetchone() or (None, None)
    first_bounds = period.first is not None and begin is not None and period.first > begin
    end_bounds = period.end is not None and end is not None and period.end < end
    return Period(period.first if first_bounds else None, period.end if end_bounds else None)


_MONTHS = {"month": 1, "quarter": 3, "year": 12}


def _calendar_unit(period: Period, group_by: Sequence[str]) -> str | None:
    """The dimension of which the period is one value, or whole values by each of which it is grouped."""
    for unit, months in _MONTHS.items():
        bounds = [day for day in (period.first, period.end) if day is not None]
        whole = all(day.day == 1 and (day.month - 1) % months == 0 for day in bounds)
        one = (
            period.first is not None
            and period.end is not None
            and (12 * (period.end.year - period.first.year) + period.end.month - period.first.month == months)
        )
        if whole and (one or unit in group_by):
            return unit
    return None


def _first_awards(
    cursor: Cursor,
    group_by: Sequence[str],
    shared: Set[str],
    whole: Period,
    position: int,
    institution: str | None,
) -> dict[Group, int]:
    """Awards less those that repeat a learner of the same values of `shared`, and of the institution.

    `whole` is a period of whole months.
    """
    fixed = {*(_COLUMN_OF[name] for name in shared), *(["institution"] if institution is not None else [])}
    bits = dimension_bits(fixed)
    sharing = (
        "SELECT id FROM statistics_overlap"
        f" WHERE EXISTS (SELECT FROM unnest(dimensions) AS shared WHERE shared & {bits} = {bits})"
    )
    cells, values = _cells(_of(institution), whole.condition("month"))
    repeats = (f"overlap IN ({sharing}) AND {cells}", values)
    last = _last_block(cursor)
    parts = [
        *_at("statistics_sum", {"learners": "awarded"}, position, last, (cells, values)),
        *_at("statistics_repeat", {"learners": "-awards"}, position, last, repeats, {"learners": "-awarded"}),
    ]
    groups = [DIMENSIONS[name] for name in group_by]
    text, given = _united(parts)
    # By cell first, so that few rows are joined and grouped; of integers, since a sum of bigint is slow.
    text = f"SELECT cell, sum(learners::integer) AS learners FROM ({text}) AS parts GROUP BY cell"
    cursor.execute(
        f"SELECT {', '.join([*groups, 'sum(f.learners)::bigint'])}"
        f" FROM ({text}) f JOIN statistics_cell c ON c.id = f.cell"
        + _grouped(len(groups), "sum(f.learners) > 0"),
        given,
    )
    return {_group(row[:-1]): row[-1] or 0 for row in cursor.fetchall()}


def revocations_at(
    cursor: Cursor, group_by: Sequence[str], period: Period, position: int, institution: str | None = None
) -> list[Revocations]:
    """The badges revoked by a position, on the days of a period, of each group that has one."""
    groups = [REVOCATION_DIMENSIONS[name] for name in group_by]
    within, days = period.condition(_REVOKED)
    own, brin = _cells(_of(institution), column="f.cell")
    median = f"percentile_cont(0.5) WITHIN GROUP (ORDER BY {_REVOKED} - f.day)"
    cursor.execute(
        f"SELECT {', '.join([*groups, 'count(*)', median])}"
        " FROM statistics_change f JOIN statistics_cell c ON c.id = f.cell"
        f" WHERE f.revoked = 1 AND f.position <= %s AND {within} AND {own}"
        + _grouped(len(groups), "count(*) > 0"),
        [position, *days, *brin],
    )
    return [Revocations(_group(row[:-2]), row[-2], row[-1]) for row in cursor.fetchall() if row[-2]]


def holdings_at(
    cursor: Cursor, group_by: Sequence[str], position: int, institution: str | None = None
) -> list[Holding]:
    """The number of learners by how many badges they hold that are not revoked.

    By institution, or with `institution`, badges of the one institution are counted alone.
    """
    by_institution = bool(group_by) or institution is not None
    held = "f.held_there" if by_institution else "f.held"
    kept: Condition = ("institution <> ''" if by_institution else "institution = ''", [])
    if institution is not None:
        kept = ("institution = %s", [institution])
    own, brin = _cells(_of(institution), column="f.cell")
    block = block_of(position)
    # After an award the learner holds one more than before it, after a revocation one less.
    parts: list[Part] = [
        (
            f"SELECT institution, held, learners FROM statistics_holding WHERE block = {NOW} AND {kept[0]}",
            kept[1],
        ),
        (
            f"SELECT institution, held, -learners FROM statistics_holding WHERE block > %s AND {kept[0]}",
            [block, *kept[1]],
        ),
        (
            "SELECT c.institution, v.held, v.learners"
            " FROM statistics_change f JOIN statistics_cell c ON c.id = f.cell"
            f" CROSS JOIN LATERAL (VALUES ({held}, -1), ({held} - f.awarded + f.revoked, 1))"
            " AS v (held, learners)"
            f" WHERE {held} IS NOT NULL AND v.held > 0 AND {own} AND f.position > %s AND f.position <= %s",
            [*brin, position, end_of(block)],
        ),
    ]
    groups = [HOLDING_DIMENSIONS[name] for name in group_by]
    text, values = _united(parts)
    cursor.execute(
        f"SELECT {', '.join([*groups, 'h.held', 'sum(h.learners)::bigint'])} FROM ({text}) h"
        + _grouped(len(groups) + 1, "sum(h.learners) > 0"),
        values,
    )
    return [Holding(_group(row[:-2]), row[-2], row[-1]) for row in cursor.fetchall()]


def _next_month(day: dt.date) -> dt.date:
    """The first day of the month after that of a day."""
    return (day.replace(day=28) + dt.timedelta(days=4)).replace(day=1)


def _group(values: Sequence[Any]) -> Group:
    """A group's values as they are shown: a month as `YYYY-MM`."""
    return tuple(value.isoformat()[:7] if isinstance(value, dt.date) else value for value in values)


def _grouped(count: int, having: str) -> str:
    numbers = ", ".join(str(number + 1) for number in range(count))
    return f" GROUP BY {numbers} HAVING {having} ORDER BY {numbers}" if count else ""


def _united(parts: Iterable[Part]) -> Part:
    listed = list(parts)
    return " UNION ALL ".join(text for text, _ in listed), [value for _, values in listed for value in values]


def _of(institution: str | None) -> Condition:
    """The cells of an institution, or of all."""
    return ("institution = %s", [institution]) if institution is not None else ANY


def _cells(*conditions: Condition, column: str = "cell") -> Condition:
    """Conditions of cells, as one of a column that names a cell."""
    texts = [text for text, _ in conditions if text != "true"]
    values = [value for _, given in conditions for value in given]
    return (
        (f"{column} IN (SELECT id FROM statistics_cell WHERE {' AND '.join(texts)})", values)
        if texts
        else ANY
    )


def _last_block(cursor: Cursor) -> int:
    cursor.execute("SELECT coalesce(max(block), 0) FROM statistics_sum")
    (last,) = cursor.fetchone() or (0,)
    return int(last)


def _at(
    table: str,
    figures: Mapping[str, str],
    position: int,
    last: int,
    condition: Condition,
    changes: Mapping[str, str] | None = None,
) -> Iterable[Part]:
    """Sums at a position, counted from one end of the log.

    Usually from its begin: the blocks before its own, and the changes in its own up to the position. In the
    last quarter back from now: the sums of now, less the later blocks, less the later changes of its block.
    `figures` gives each its expression over a row of the table, and `changes` over a change, if that differs;
    `last` is the last block.
    """

    def columns(expressions: Mapping[str, str], sign: str = "") -> str:
        return ", ".join(f"{sign}({text}) AS {name}" for name, text in expressions.items())

    block, (text, values) = block_of(position), condition
    if block < last * 3 // 4:
        yield (
            f"SELECT cell, {columns(figures)} FROM {table} WHERE block >= 0 AND block < %s AND {text}",
            [block, *values],
        )
        yield (
            f"SELECT cell, {columns(changes or figures)} FROM statistics_change"
            f" WHERE position > %s AND position <= %s AND {text}",
            [end_of(block - 1), position, *values],
        )
        return
    yield f"SELECT cell, {columns(figures)} FROM {table} WHERE block = {NOW} AND {text}", values
    yield f"SELECT cell, {columns(figures, '-')} FROM {table} WHERE block > %s AND {text}", [block, *values]
    yield (
        f"SELECT cell, {columns(changes or figures, '-')} FROM statistics_change"
        f" WHERE position > %s AND position <= %s AND {text}",
        [position, end_of(block), *values],
    )


def _of_whole_months(cursor: Cursor, period: Period, position: int, own: Condition) -> Iterable[Part]:
    whole = period.whole_months()
    if whole.first is not None and whole.end is not None and whole.first >= whole.end:
        return []
    cells = _cells(own, whole.condition("month"))
    return _at("statistics_sum", {name: name for name in SUMS}, position, _last_block(cursor), cells)


def _of_parts_of_months(period: Period, position: int, own: Condition) -> Iterable[Part]:
    """The changes, by their day, in the months in which the period begins or ends."""
    edges = [day.replace(day=1) for day in (period.first, period.end) if day is not None and day.day > 1]
    for begin in dict.fromkeys(edges):
        end, (cells, values) = _next_month(begin), _cells(own)
        first = begin if period.first is None else max(begin, period.first)
        part = Period(first, end if period.end is None else min(end, period.end))
        within, days = part.condition("day")
        yield (
            f"SELECT cell, {', '.join(SUMS)} FROM statistics_change"
            f" WHERE position <= %s AND {within} AND {cells}",
            [position, *days, *values],
        )

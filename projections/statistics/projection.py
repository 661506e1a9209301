"""Statistics of awards: figures at any position of the log, and at nothing else.

Awards are counted in cells, one per combination of the dimensions; a cell keeps its sums as of now and
what each block of positions added to them. The figures at an earlier position are those of now, less the
later blocks, less the later changes of its own block. Every change is kept with its day, so that a period
that begins or ends inside a month is counted exactly too.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from hashlib import sha256
from operator import attrgetter
from typing import Literal, assert_never

import msgspec

from projections.tables import BigInt, Bytea, Date, Integer, Row, SmallInt, Text, Uuid, columns, copy, names
from registry.domain.events import (
    BadgeAwarded,
    BadgeCorrected,
    BadgeFact,
    BadgeReinstated,
    BadgeRevoked,
    BadgeSuspended,
    Event,
    badge_fact,
    canonical,
)
from registry.postgres.connections import Cursor

BLOCK = 65_536
NOW = -1
"""The number of the block under which a cell has its sums as of now."""


class Cell(Row, frozen=True):
    """The dimensions by which awards are counted."""

    institution: Text
    module: Uuid
    month: Date
    sector: Text
    nlqf: Text | None
    isced: Text | None
    programme: Text | None


class CellRow(Cell, frozen=True):
    TABLE = "statistics_cell"
    id: Integer
    key: Bytea


class Sums(Row, frozen=True):
    """The figures that are counted; `half_credits` are ECTS times two."""

    awarded: BigInt
    revoked: BigInt
    superseded: BigInt
    suspended: BigInt
    half_credits: BigInt
    sbu: BigInt


class SumRow(Sums, frozen=True):
    TABLE = "statistics_sum"
    block: Integer
    cell: Integer


class ChangeRow(Row, frozen=True):
    """The numbers that one event adds to the sums of a cell."""

    TABLE = "statistics_change"
    position: BigInt
    cell: Integer
    day: Date
    awarded: SmallInt = 0
    revoked: SmallInt = 0
    superseded: SmallInt = 0
    suspended: SmallInt = 0
    half_credits: Integer = 0
    sbu: Integer = 0
    learner: Uuid | None = None
    of_award: BigInt | None = None


SUMS = tuple(columns(Sums))
_sums_of = attrgetter(*SUMS)

TABLES = f"""
CREATE TABLE statistics_cell (
    id integer PRIMARY KEY,
    key bytea NOT NULL UNIQUE,
    institution text NOT NULL,
    module uuid NOT NULL,
    month date NOT NULL,
    sector text NOT NULL,
    nlqf text,
    isced text,
    programme text
);
COMMENT ON COLUMN statistics_cell.id IS 'in the order of their first award: the same in every rebuild';
COMMENT ON COLUMN statistics_cell.key IS 'SHA-256 of the dimensions';
CREATE TABLE statistics_sum (
    block integer NOT NULL,
    cell integer NOT NULL,
    awarded bigint NOT NULL,
    revoked bigint NOT NULL,
    superseded bigint NOT NULL,
    suspended bigint NOT NULL,
    half_credits bigint NOT NULL,
    sbu bigint NOT NULL,
    PRIMARY KEY (block, cell)
);
COMMENT ON COLUMN statistics_sum.block IS 'of {BLOCK} positions, from 0; {NOW}: the sums as of now';
CREATE TABLE statistics_change (
    position bigint NOT NULL,
    cell integer NOT NULL,
    day date NOT NULL,
    awarded smallint NOT NULL,
    revoked smallint NOT NULL,
    superseded smallint NOT NULL,
    suspended smallint NOT NULL,
    half_credits integer NOT NULL,
    sbu integer NOT NULL,
    learner uuid,
    of_award bigint
);
COMMENT ON COLUMN statistics_change.learner IS 'of an award';
COMMENT ON COLUMN statistics_change.of_award IS 'of what came after an award: its position';
CREATE INDEX statistics_change_by_position ON statistics_change (position);
CREATE INDEX statistics_change_by_cell ON statistics_change (cell, position);
CREATE INDEX statistics_change_by_award ON statistics_change (of_award) WHERE of_award IS NOT NULL;
GRANT SELECT, INSERT ON statistics_cell, statistics_change TO registry_project;
GRANT SELECT, INSERT, UPDATE ON statistics_sum TO registry_project;
GRANT SELECT ON statistics_cell, statistics_sum, statistics_change TO registry_read;
"""


@dataclass
class _Badge:
    """The facts about a badge that are needed to count the changes after its award.

    `suspended` and `superseded` are what was counted so far, 0 or 1: so the figures are the same whatever the
    batches were, also where an event was skipped.
    """

    award_position: int
    cell: int
    day: dt.date
    half_credits: int
    sbu: int
    suspended: int = 0
    superseded: int = 0


@dataclass
class _Tally:
    """Counts a batch of events: collects the changes that they make to the sums."""

    cells: Iterator[int]
    """The cells of the awards, in the order of the awards."""
    later: Set[str]
    """The badges that the batch changes after their award."""
    badges: dict[str, _Badge]
    """Those of these badges that are already awarded, before the batch or in it."""
    changes: list[ChangeRow] = field(default_factory=list)

    def add(self, event: Event, fact: BadgeFact) -> None:
        if isinstance(fact, BadgeAwarded):
            self._award(event, fact)
            return
        badge = self._known(event.originator_id)
        match fact:
            case BadgeCorrected():
                pass
            case BadgeSuspended():
                self._change(event, badge, suspended=1 - badge.suspended)
            case BadgeReinstated():
                self._change(event, badge, suspended=-badge.suspended)
            case BadgeRevoked():
                self._change(
                    event,
                    badge,
                    revoked=1,
                    suspended=-badge.suspended,
                    half_credits=-badge.half_credits,
                    sbu=-badge.sbu,
                )
            case _:
                assert_never(fact)

    def _award(self, event: Event, fact: BadgeAwarded) -> None:
        load, position = fact.study_load, event.position
        half_credits = round((load.ects or 0) * 2) if load else 0
        sbu = (load.sbu or 0) if load else 0
        cell, day = next(self.cells), fact.awarded_on
        self.changes.append(
            ChangeRow(
                position, cell, day, awarded=1, half_credits=half_credits, sbu=sbu, learner=fact.learner_id
            )
        )
        if event.originator_id in self.later:
            self.badges[event.originator_id] = _Badge(position, cell, day, half_credits, sbu)
        if fact.supersedes is not None:
            old = self._known(fact.supersedes)
            self._change(event, old, superseded=1 - old.superseded)

    def _known(self, badge_id: str) -> _Badge:
        badge = self.badges.get(badge_id)
        if badge is None:
            raise LookupError(f"badge {badge_id} was never awarded")
        return badge

    def _change(self, event: Event, badge: _Badge, **sums: int) -> None:
        """Adds a change after an award, where it changes a figure."""
        if any(sums.values()):
            of_award = badge.award_position
            self.changes.append(
                ChangeRow(event.position, badge.cell, badge.day, learner=None, of_award=of_award, **sums)
            )
            badge.suspended += sums.get("suspended", 0)
            badge.superseded += sums.get("superseded", 0)


Dimensions = tuple[str, str, dt.date, str, str | None, str | None, str | None]
"""The dimensions of a cell, in order, with the day instead of the month."""


def _dimensions(fact: BadgeAwarded) -> Dimensions:
    return (
        fact.institution,
        fact.module_id,
        fact.awarded_on,
        fact.sector,
        fact.level.nlqf if fact.level else None,
        fact.isced,
        fact.programme,
    )


def _cell(dimensions: Dimensions) -> Cell:
    institution, module, day, sector, nlqf, isced, programme = dimensions
    return Cell(institution, module, day.replace(day=1), sector, nlqf, isced, programme)


def _key(cell: Cell) -> bytes:
    return sha256(canonical(cell)).digest()


class Statistics:
    name = "statistics"
    version = 2
    order: Literal["by key", "total"] = "total"
    handles: tuple[str, ...] = ("badge.",)
    tables = TABLES

    def apply(self, cursor: Cursor, events: Sequence[Event]) -> None:
        facts = [(event, badge_fact(event)) for event in events]
        awards = [fact for _, fact in facts if isinstance(fact, BadgeAwarded)]
        later = {event.originator_id for event, fact in facts if not isinstance(fact, BadgeAwarded)}
        later |= {fact.supersedes for fact in awards if fact.supersedes is not None}
        cells = _cells(cursor, [_dimensions(fact) for fact in awards])
        tally = _Tally(cells, later, _badges(cursor, later) if later else {})
        for event, fact in facts:
            tally.add(event, fact)
        if tally.changes:
            copy(cursor, tally.changes)
            _add_sums(cursor, tally.changes)


def _cells(cursor: Cursor, awards: Sequence[Dimensions]) -> Iterator[int]:
    """The ids of the cells of these awards, in their order; a cell that is new is added."""
    cells = {dimensions: _cell(dimensions) for dimensions in dict.fromkeys(awards)}
    by_key = {_key(cell): cell for cell in dict.fromkeys(cells.values())}
    ids = _cell_ids(cursor, by_key)
    new = [key for key in by_key if key not in ids]
    if new:
        cursor.execute("SELECT coalesce(max(id), 0) FROM statistics_cell")
        (last,) = cursor.fetchone() or (0,)
        ids |= {key: last + number for number, key in enumerate(new, 1)}
        rows = [CellRow(**msgspec.structs.asdict(by_key[key]), id=ids[key], key=key) for key in new]
        copy(cursor, rows)
    by_dimensions = {dimensions: ids[_key(cell)] for dimensions, cell in cells.items()}
    return map(by_dimensions.__getitem__, awards)


def _cell_ids(cursor: Cursor, keys: Iterable[bytes]) -> dict[bytes, int]:
    cursor.execute(
        "SELECT key, id FROM statistics_cell WHERE key = ANY(%s::bytea[])",
        (["\\x" + key.hex() for key in keys],),
    )
    return {bytes(key): number for key, number in cursor.fetchall()}


# OFFSET 0 keeps the subquery apart, so that it is looked up badge by badge. Otherwise the planner reads the
# whole table right after many awards, when its statistics of the table are out of date.
OF_BADGES = """
SELECT e.subject, e.position, a.cell, a.day, a.half_credits, a.sbu, l.suspended, l.superseded
FROM event e
CROSS JOIN LATERAL (
    SELECT cell, day, half_credits, sbu
    FROM statistics_change WHERE position = e.position AND awarded = 1 OFFSET 0
) a
CROSS JOIN LATERAL (
    SELECT coalesce(sum(suspended), 0) AS suspended, coalesce(sum(superseded), 0) AS superseded
    FROM statistics_change WHERE of_award = e.position
) l
WHERE e.subject = ANY(%s) AND e.version = 1
"""


def _badges(cursor: Cursor, badge_ids: Iterable[str]) -> dict[str, _Badge]:
    """Badges as they were counted: a badge has its award in the log, and no row of its own here."""
    cursor.execute(OF_BADGES, (list(badge_ids),))
    return {badge_id: _Badge(*rest) for badge_id, *rest in cursor.fetchall()}


def _add_sums(cursor: Cursor, changes: Sequence[ChangeRow]) -> None:
    # Most changes of a page count the same in the same cell.
    alike = Counter(((row.position - 1) // BLOCK, row.cell, _sums_of(row)) for row in changes)
    sums: dict[tuple[int, int], tuple[int, ...]] = {}
    for (block, cell, counted), times in alike.items():
        for key in ((block, cell), (NOW, cell)):
            so_far = sums.get(key, (0,) * len(SUMS))
            sums[key] = tuple(sum_ + times * added for sum_, added in zip(so_far, counted, strict=True))
    # Sorted by the key, as in every upsert.
    rows = [(*added, *key) for key, added in sorted(sums.items())]
    cursor.execute(
        f"INSERT INTO statistics_sum AS s ({names(SumRow)})"
        f" SELECT * FROM unnest({', '.join(f'%s::{kind}[]' for kind in columns(SumRow).values())})"
        " ON CONFLICT (block, cell) DO UPDATE SET "
        + ", ".join(f"{name} = s.{name} + excluded.{name}" for name in SUMS),
        [list(values) for values in zip(*rows, strict=True)],
    )

"""Statistics of awards (contract section 3): figures at any position of the log, and at nothing else.

Awards are counted in cells, one per combination of the dimensions; a cell keeps its sums as of now and
what each block of positions added to them. The figures at an earlier position are those of now, less the
later blocks, less the later changes of its own block. Every change is kept with its day, so that a period
that begins or ends inside a month is counted as exactly.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

import msgspec

from registry.domain.events import (
    BadgeAwarded,
    BadgeCorrected,
    BadgeFact,
    BadgeReinstated,
    BadgeRevoked,
    BadgeSuspended,
    Event,
    canonical,
)
from registry.postgres.binary_copy import copy_rows
from registry.postgres.connections import Cursor

BLOCK = 65_536
NOW = -1
"""Under this number of a block a cell has its sums as of now."""

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

SUMS = ("awarded", "revoked", "superseded", "suspended", "half_credits", "sbu")
_CHANGE_COLUMNS = {
    "position": "int8",
    "cell": "int4",
    "day": "date",
    "awarded": "int2",
    "revoked": "int2",
    "superseded": "int2",
    "suspended": "int2",
    "half_credits": "int4",
    "sbu": "int4",
    "learner": "uuid",
    "of_award": "int8",
}
_CELL_COLUMNS = {
    "id": "int4",
    "key": "bytea",
    "institution": "text",
    "module": "uuid",
    "month": "date",
    "sector": "text",
    "nlqf": "text",
    "isced": "text",
    "programme": "text",
}


class Cell(msgspec.Struct, frozen=True):
    """The dimensions by which awards are counted."""

    institution: str
    module: str
    month: dt.date
    sector: str
    nlqf: str | None
    isced: str | None
    programme: str | None

    @property
    def key(self) -> bytes:
        return sha256(canonical(self)).digest()


@dataclass
class _Badge:
    """What is needed of a badge to count what becomes of it.

    Suspended and superseded are what was counted so far, 0 or 1: so the figures are the same whatever the
    batches were, also where an event was passed over.
    """

    award_position: int
    cell: int
    day: dt.date
    half_credits: int
    sbu: int
    suspended: int = 0
    superseded: int = 0


@dataclass
class _Batch:
    """What a batch of events comes to."""

    cells: Iterator[int]
    """The cell of each award, in their order."""
    later: Set[str]
    """The badges of which more is told than their award."""
    badges: dict[str, _Badge]
    """Of these, those awarded by now: before the batch, or in it."""
    changes: list[tuple[Any, ...]] = field(default_factory=list)

    def take(self, event: Event, fact: BadgeFact) -> None:
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
                raise AssertionError(f"{fact.TYPE} changes no badge")

    def _award(self, event: Event, fact: BadgeAwarded) -> None:
        load, position = fact.study_load, event.position
        half_credits = round((load.ects or 0) * 2) if load else 0
        sbu = (load.sbu or 0) if load else 0
        cell, day = next(self.cells), fact.awarded_on
        self.changes.append((position, cell, day, 1, 0, 0, 0, half_credits, sbu, fact.learner_id, None))
        if event.originator_id in self.later:
            self.badges[event.originator_id] = _Badge(position, cell, day, half_credits, sbu)
        if fact.supersedes is not None:
            old = self._known(fact.supersedes)
            self._change(event, old, superseded=1 - old.superseded)

    def _known(self, badge_id: str) -> _Badge:
        found = self.badges.get(badge_id)
        if found is None:
            raise LookupError(f"badge {badge_id} was never awarded")
        return found

    def _change(
        self,
        event: Event,
        badge: _Badge,
        *,
        revoked: int = 0,
        superseded: int = 0,
        suspended: int = 0,
        half_credits: int = 0,
        sbu: int = 0,
    ) -> None:
        """What comes after an award, where it changes a figure."""
        counted = (0, revoked, superseded, suspended, half_credits, sbu)
        if any(counted):
            self.changes.append((event.position, badge.cell, badge.day, *counted, None, badge.award_position))
            badge.suspended += suspended
            badge.superseded += superseded


Dimensions = tuple[str, str, dt.date, str, str | None, str | None, str | None]
"""Those of a cell, in their order, with the day for its month."""


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


class Statistics:
    name = "statistics"
    version = 2
    order: Literal["by key", "total"] = "total"
    takes: tuple[str, ...] = ("badge.",)
    tables = TABLES

    def apply(self, cursor: Cursor, events: Sequence[Event]) -> None:
        facts = [(event, event.data) for event in events if isinstance(event.data, BadgeFact)]
        awards = [fact for _, fact in facts if isinstance(fact, BadgeAwarded)]
        later = {event.originator_id for event, fact in facts if not isinstance(fact, BadgeAwarded)}
        later |= {fact.supersedes for fact in awards if fact.supersedes is not None}
        cells = _cells(cursor, [_dimensions(fact) for fact in awards])
        batch = _Batch(cells, later, _badges(cursor, later) if later else {})
        for event, fact in facts:
            batch.take(event, fact)
        if batch.changes:
            copy_rows(cursor, "statistics_change", _CHANGE_COLUMNS, batch.changes)
            _add_sums(cursor, batch.changes)


def _cells(cursor: Cursor, awards: Sequence[Dimensions]) -> Iterator[int]:
    """The ids of the cells of these awards, made where they are new, in the order in which they come."""
    cells = {each: _cell(each) for each in dict.fromkeys(awards)}
    by_key = {cell.key: cell for cell in dict.fromkeys(cells.values())}
    found = _cell_ids(cursor, by_key)
    new = [key for key in by_key if key not in found]
    if new:
        cursor.execute("SELECT coalesce(max(id), 0) FROM statistics_cell")
        (last,) = cursor.fetchone() or (0,)
        found |= {key: last + number for number, key in enumerate(new, 1)}
        rows = [(found[key], key, *msgspec.structs.astuple(by_key[key])) for key in new]
        copy_rows(cursor, "statistics_cell", _CELL_COLUMNS, rows)
    ids = {each: found[cell.key] for each, cell in cells.items()}
    return map(ids.__getitem__, awards)


def _cell_ids(cursor: Cursor, keys: Iterable[bytes]) -> dict[bytes, int]:
    cursor.execute(
        "SELECT key, id FROM statistics_cell WHERE key = ANY(%s::bytea[])",
        (["\\x" + key.hex() for key in keys],),
    )
    return {bytes(key): number for key, number in cursor.fetchall()}


# A subquery that stays one by its OFFSET is looked up badge by badge, whatever is known of the tables: right
# after many awards too little is known of them, and the planner would read the whole.
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


def _add_sums(cursor: Cursor, changes: Sequence[tuple[Any, ...]]) -> None:
    # Most changes of a page count the same in the same cell.
    alike = Counter(
        ((position - 1) // BLOCK, cell, *counted) for position, cell, _, *counted, _, _ in changes
    )
    sums: dict[tuple[int, int], tuple[int, ...]] = {}
    for (block, cell, *counted), times in alike.items():
        for key in ((block, cell), (NOW, cell)):
            held = sums.get(key, (0,) * len(SUMS))
            sums[key] = tuple(sum_ + times * each for sum_, each in zip(held, counted, strict=True))
    # In the order of the key, as every upsert.
    rows = sorted((*key, *held) for key, held in sums.items())
    cursor.execute(
        f"INSERT INTO statistics_sum AS s (block, cell, {', '.join(SUMS)})"
        f" SELECT * FROM unnest(%s::integer[], %s::integer[]{', %s::bigint[]' * len(SUMS)})"
        " ON CONFLICT (block, cell) DO UPDATE SET "
        + ", ".join(f"{name} = s.{name} + excluded.{name}" for name in SUMS),
        [[row[place] for row in rows] for place in range(len(SUMS) + 2)],
    )

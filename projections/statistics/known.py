"""What a batch of awards relies on, from the tables: its cells, its learners and their badges so far."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from projections.statistics.tables import Cell, CellRow, OverlapRow
from projections.statistics.tally import Badge, Learners
from projections.tables import copy, insert, names
from registry.domain.events import BadgeAwarded, canonical
from registry.domain.values import UUID
from registry.postgres.connections import Cursor

Dimensions = tuple[str, str, dt.date, str, str | None, str | None, str | None, str | None, str]
"""What `Cell.of` takes."""


@dataclass(frozen=True)
class Cells:
    of_awards: list[int]
    """The ids of the cells of the awards, in their order."""
    by_id: dict[int, Cell]


def cells_of(cursor: Cursor, awards: Sequence[BadgeAwarded]) -> Cells:
    """The cells of these awards; a cell that is new is added."""
    groups = _target_groups(cursor, {fact.module_id for fact in awards})
    # Many awards of a page have the same dimensions: each of these gets a number.
    numbers: dict[Dimensions, int] = {}
    of_awards = [numbers.setdefault(_dimensions(fact, groups), len(numbers)) for fact in awards]
    cells = [Cell.of(*row) for row in numbers]
    keys = [_key(cell) for cell in cells]
    by_key = dict(zip(keys, cells, strict=True))
    ids = _cell_ids(cursor, by_key)
    new = [key for key in by_key if key not in ids]
    if new:
        cursor.execute("SELECT coalesce(max(id), 0) FROM statistics_cell")
        (last,) = cursor.fetchone() or (0,)
        ids |= {key: last + number for number, key in enumerate(new, 1)}
        rows = [CellRow(**msgspec.structs.asdict(by_key[key]), id=ids[key], key=key) for key in new]
        copy(cursor, rows)
    by_id = {number: by_key[key] for key, number in ids.items()}
    return Cells([ids[keys[number]] for number in of_awards], by_id)


def _dimensions(fact: BadgeAwarded, groups: Mapping[tuple[str, int], str | None]) -> Dimensions:
    return (
        fact.institution,
        fact.module_id,
        fact.awarded_on,
        fact.sector,
        fact.level.nlqf if fact.level else None,
        fact.isced,
        fact.programme,
        # In total order a version comes before its awards, except one that an operator skipped.
        groups.get((fact.module_id, fact.module_version)),
        fact.channel,
    )


def _key(cell: Cell) -> bytes:
    return sha256(canonical(cell)).digest()


def _cell_ids(cursor: Cursor, keys: Iterable[bytes]) -> dict[bytes, int]:
    cursor.execute(
        "SELECT key, id FROM statistics_cell WHERE key = ANY(%s::bytea[])",
        (["\\x" + key.hex() for key in keys],),
    )
    return {bytes(key): number for key, number in cursor.fetchall()}


def _target_groups(cursor: Cursor, module_ids: Iterable[str]) -> dict[tuple[str, int], str | None]:
    """The target group of each version of these modules."""
    cursor.execute(
        f"SELECT module, version, target_group FROM statistics_module WHERE module = ANY({IDS})",
        (" ".join(module_ids),),
    )
    return {(module, version): group for module, version, group in cursor.fetchall()}


# Ids are sent as one text, since psycopg2 writes an array value by value.
IDS = "string_to_array(%s, ' ')::uuid[]"
# OFFSET 0 keeps a subquery apart, so that it is looked up id by id. Otherwise the planner reads the whole
# table right after many awards, when its statistics of the table are out of date.
OF_LEARNERS = f"""
SELECT l.learner, c.cell, sum(c.awarded - c.revoked)
FROM unnest({IDS}) AS l (learner)
CROSS JOIN LATERAL (
    SELECT cell, awarded, revoked FROM statistics_change WHERE learner = l.learner OFFSET 0
) c
GROUP BY 1, 2
"""
OF_BADGES = f"""
SELECT b.badge, b.learner, c.*
FROM unnest({IDS}, {IDS}) AS b (badge, learner)
CROSS JOIN LATERAL (
    SELECT min(cell) AS cell, min(day), sum(half_credits), sum(sbu), sum(revoked), sum(suspended),
        sum(superseded)
    FROM statistics_change WHERE learner = b.learner AND badge = b.badge OFFSET 0
) c
WHERE c.cell IS NOT NULL
"""
OF_REVOKED = f"SELECT badge, learner FROM statistics_change WHERE revoked = 1 AND badge = ANY({IDS})"


def learners_of(cursor: Cursor, learner_ids: Set[str], cells: Cells) -> Learners:
    """What the learners have before the batch; adds the cells of their awards to `cells`."""
    cursor.execute(OF_LEARNERS, (" ".join(filter(UUID.fullmatch, learner_ids)),))
    rows = cursor.fetchall()
    missing = {cell for _, cell, _ in rows} - cells.by_id.keys()
    if missing:
        cursor.execute(
            f"SELECT id, {names(Cell)} FROM statistics_cell WHERE id = ANY(%s)", (sorted(missing),)
        )
        cells.by_id.update((number, Cell(*rest)) for number, *rest in cursor.fetchall())
    learners = Learners()
    for learner_id, cell, held in rows:
        at = cells.by_id[cell].institution + learner_id
        learners.cells[learner_id] = (*learners.cells.get(learner_id, ()), cell)
        learners.held[learner_id] = learners.held.get(learner_id, 0) + held
        learners.held_there[at] = learners.held_there.get(at, 0) + held
    return learners


def owners_of(cursor: Cursor, revoked: Set[str]) -> dict[str, str]:
    """The learners of revoked badges, by badge."""
    if not revoked:
        return {}
    cursor.execute(OF_REVOKED, (" ".join(revoked),))
    return dict(cursor.fetchall())


def badges_of(cursor: Cursor, owners: Mapping[str, str]) -> dict[str, Badge]:
    """Badges as they were counted so far, from the rows of their learners."""
    known = {badge: learner for badge, learner in owners.items() if UUID.fullmatch(learner)}
    if not known:
        return {}
    cursor.execute(OF_BADGES, (" ".join(known), " ".join(known.values())))
    return {badge_id: Badge(*rest) for badge_id, *rest in cursor.fetchall()}


class Overlaps(dict[tuple[int, ...], int]):
    """The ids of overlaps; one that is new is added."""

    def __init__(self, cursor: Cursor) -> None:
        super().__init__()
        self._cursor = cursor

    def __missing__(self, sets: tuple[int, ...]) -> int:
        self._cursor.execute(
            "SELECT id FROM statistics_overlap WHERE dimensions = %s::smallint[]", (list(sets),)
        )
        found = self._cursor.fetchone()
        if found is None:
            self._cursor.execute("SELECT coalesce(max(id), 0) + 1 FROM statistics_overlap")
            found = self._cursor.fetchone() or (1,)
            insert(self._cursor, OverlapRow(found[0], list(sets)))
        self[sets] = found[0]
        return self[sets]

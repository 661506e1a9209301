"""Statistics of awards: figures at any position of the log, and at nothing else.

Awards are counted in cells, one per combination of the dimensions; a cell keeps its sums as of now and
what each block of positions added to them. The figures at an earlier position are those of now, less the
later blocks, less the later changes of its own block. Every change is kept with its day, so that a period
that begins or ends inside a month is counted exactly too.

Distinct learners do not add up, but repeats do: an award counts its learner once more in a group, unless an
earlier award of that learner falls into the same group. So an award that is not its learner's first says
which dimensions it shares with the earlier ones, and is counted by that.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from hashlib import sha256
from operator import attrgetter
from typing import Any, Literal, assert_never

import msgspec

from projections.statistics.tables import (
    ALL_DIMENSIONS,
    BLOCK,
    NOW,
    SUMS,
    TABLES,
    Cell,
    CellRow,
    ChangeRow,
    HoldingRow,
    ModuleRow,
    OverlapRow,
    RepeatRow,
    SumRow,
)
from projections.tables import Row, columns, copy, insert, names
from registry.domain.events import (
    BadgeAwarded,
    BadgeCorrected,
    BadgeFact,
    BadgeReinstated,
    BadgeRevoked,
    BadgeSuspended,
    Event,
    InstitutionFact,
    MisplacedEventError,
    ModuleRegistered,
    ModuleRevised,
    ModuleWithdrawn,
    OperatorFact,
    TokenFact,
    canonical,
)
from registry.domain.values import UUID, day_in_amsterdam
from registry.postgres.connections import Cursor

_sums_of = attrgetter(*SUMS)


@dataclass
class _Badge:
    """The facts about a badge that are needed to count the changes after its award.

    The numbers are what was counted so far: so the figures are the same whatever the batches were, also where
    an event was skipped.
    """

    learner: str
    cell: int
    day: dt.date
    half_credits: int
    sbu: int
    revoked: int = 0
    suspended: int = 0
    superseded: int = 0


class _Learner(msgspec.Struct, gc=False):
    """The cells in which a learner has an award, and how many badges the learner holds."""

    cells: set[int]
    held: int
    held_there: dict[str, int]
    """By institution."""


_Move = tuple[int, int, int, str, int]
"""A learner holds a badge more or less: block, 1 or -1, how many then, and of which institution how many."""


@dataclass
class _Tally:
    """Counts a batch of events: collects the changes that they make to the sums."""

    awarded: Iterator[int]
    """The cells of the awards, in the order of the awards."""
    cells: Mapping[int, Cell]
    """Those cells, and every other in which one of these learners has an award."""
    later: Set[str]
    """The badges that the batch changes after their award."""
    badges: dict[str, _Badge]
    """Those of these badges that are already awarded, before the batch or in it."""
    learners: dict[str, _Learner]
    """Those who have an award, before the batch or in it."""
    overlap: Callable[[tuple[int, ...]], int]
    """The number of an overlap."""
    changes: list[ChangeRow] = field(default_factory=list)
    moves: list[_Move] = field(default_factory=list)

    def add(self, event: Event, fact: BadgeFact) -> None:
        if isinstance(fact, BadgeAwarded):
            self._award(event, fact)
            return
        badge = self.badges.get(event.originator_id)
        if badge is None:
            raise LookupError(f"badge {event.originator_id} was never awarded")
        match fact:
            case BadgeCorrected():
                pass
            case BadgeSuspended():
                self._change(event, event.originator_id, suspended=1 - badge.suspended)
            case BadgeReinstated():
                self._change(event, event.originator_id, suspended=-badge.suspended)
            case BadgeRevoked():
                held, held_there = self._move(event, fact, -1)
                self._change(
                    event,
                    event.originator_id,
                    revoked=1,
                    suspended=-badge.suspended,
                    half_credits=-badge.half_credits,
                    sbu=-badge.sbu,
                    held=held,
                    held_there=held_there,
                    reason=fact.reason,
                    recorded_on=day_in_amsterdam(event.recorded_at),
                )
            case _:
                assert_never(fact)

    def _award(self, event: Event, fact: BadgeAwarded) -> None:
        load, cell = fact.study_load, next(self.awarded)
        half_credits = round((load.ects or 0) * 2) if load else 0
        sbu = (load.sbu or 0) if load else 0
        overlap = None
        learner = self.learners.get(fact.learner_id)
        if learner is None:
            self.learners[fact.learner_id] = _Learner({cell}, 0, {})
        else:
            overlap = self.overlap(self._shared(cell, learner.cells))
            learner.cells.add(cell)
        held, held_there = self._move(event, fact, 1)
        self.changes.append(
            ChangeRow(
                event.position,
                cell,
                fact.awarded_on,
                fact.learner_id,
                event.originator_id,
                awarded=1,
                half_credits=half_credits,
                sbu=sbu,
                overlap=overlap,
                held=held,
                held_there=held_there,
            )
        )
        if event.originator_id in self.later:
            self.badges[event.originator_id] = _Badge(
                fact.learner_id, cell, fact.awarded_on, half_credits, sbu
            )
        if fact.supersedes is not None:
            old = self.badges.get(fact.supersedes)
            # Its revocation may have been skipped: what is not revoked is not counted as superseded.
            if old is not None and old.revoked and not old.superseded:
                self._change(event, fact.supersedes, superseded=1)

    def _shared(self, cell: int, earlier: Set[int]) -> tuple[int, ...]:
        """The largest sets of dimensions in which a cell agrees with one of the earlier cells."""
        if cell in earlier:
            return (ALL_DIMENSIONS,)
        sets = {_agreement(self.cells[cell], self.cells[other]) for other in earlier}
        return tuple(
            sorted(one for one in sets if not any(one != other and one & other == one for other in sets))
        )

    def _move(self, event: Event, fact: BadgeFact, step: int) -> tuple[int, int]:
        """Counts a badge more or less of a learner: how many are held then, and how many of these there."""
        learner, block = self.learners[fact.learner_id], _block(event.position)
        learner.held += step
        there = learner.held_there[fact.institution] = learner.held_there.get(fact.institution, 0) + step
        self.moves.append((block, step, learner.held, fact.institution, there))
        return learner.held, there

    def _change(self, event: Event, badge_id: str, **values: Any) -> None:
        """Adds a change after an award, where it changes a figure."""
        badge = self.badges[badge_id]
        counted = {name: values[name] for name in SUMS if values.get(name)}
        if counted:
            self.changes.append(
                ChangeRow(event.position, badge.cell, badge.day, badge.learner, badge_id, **values)
            )
            for name, number in counted.items():
                setattr(badge, name, getattr(badge, name) + number)


def _agreement(one: Cell, other: Cell) -> int:
    """The dimensions in which two cells agree, as bits."""
    pairs = zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)
    return sum(1 << place for place, (left, right) in enumerate(pairs) if left == right)


Dimensions = tuple[str, str, dt.date, str, str | None, str | None, str | None, str | None, str]
"""What `Cell.of` takes."""


class Statistics:
    name = "statistics"
    version = 3
    order: Literal["by key", "total"] = "total"
    handles: tuple[str, ...] = ("module.", "badge.")
    tables = TABLES

    def apply(self, cursor: Cursor, events: Sequence[Event]) -> None:
        facts: list[tuple[Event, BadgeFact]] = []
        versions: list[ModuleRow] = []
        for event in events:
            fact = event.data
            if isinstance(fact, BadgeFact):
                facts.append((event, fact))
                continue
            if isinstance(fact, InstitutionFact | TokenFact | OperatorFact):
                raise MisplacedEventError(f"{fact.TYPE} is not an event of a module or a badge")
            match fact:
                case ModuleRegistered() | ModuleRevised():
                    versions.append(ModuleRow(event.originator_id, fact.version, _target_group(fact)))
                case ModuleWithdrawn():
                    pass
                case _:
                    assert_never(fact)
        if versions:
            copy(cursor, versions)
        if facts:
            _count(cursor, facts)


def _target_group(fact: ModuleRegistered | ModuleRevised) -> str | None:
    """A module that does not name its group is for professionals; an import may not have found the group."""
    return fact.content.target_group or (None if fact.channel == "import" else "professionals")


def _count(cursor: Cursor, facts: Sequence[tuple[Event, BadgeFact]]) -> None:
    awards = [fact for _, fact in facts if isinstance(fact, BadgeAwarded)]
    cells = _cells(cursor, awards)
    owners = {
        event.originator_id: fact.learner_id for event, fact in facts if not isinstance(fact, BadgeAwarded)
    }
    owners |= _learners_of(cursor, {fact.supersedes for fact in awards if fact.supersedes} - owners.keys())
    learners = _learners(cursor, {fact.learner_id for _, fact in facts}, cells)
    tally = _Tally(
        awarded=iter(cells.of_awards),
        cells=cells.by_id,
        later=owners.keys(),
        badges=_badges(cursor, owners),
        learners=learners,
        overlap=_Overlaps(cursor),
    )
    for event, fact in facts:
        tally.add(event, fact)
    if tally.changes:
        copy(cursor, tally.changes)
        _add_sums(cursor, tally.changes)
        _add_repeats(cursor, tally.changes)
        _add_holdings(cursor, tally.moves)


@dataclass(frozen=True)
class _Cells:
    of_awards: list[int]
    """The ids of the cells of the awards, in their order."""
    by_id: dict[int, Cell]


def _cells(cursor: Cursor, awards: Sequence[BadgeAwarded]) -> _Cells:
    """The cells of these awards; a cell that is new is added."""
    groups = _target_groups(cursor, {fact.module_id for fact in awards})
    dimensions = [_dimensions(fact, groups) for fact in awards]
    cells = {key: Cell.of(*key) for key in dict.fromkeys(dimensions)}
    by_key = {_key(cell): cell for cell in dict.fromkeys(cells.values())}
    ids = _cell_ids(cursor, by_key)
    new = [key for key in by_key if key not in ids]
    if new:
        cursor.execute("SELECT coalesce(max(id), 0) FROM statistics_cell")
        (last,) = cursor.fetchone() or (0,)
        ids |= {key: last + number for number, key in enumerate(new, 1)}
        rows = [CellRow(**msgspec.structs.asdict(by_key[key]), id=ids[key], key=key) for key in new]
        copy(cursor, rows)
    by_dimensions = {key: ids[_key(cell)] for key, cell in cells.items()}
    by_id = {number: by_key[key] for key, number in ids.items()}
    return _Cells([by_dimensions[key] for key in dimensions], by_id)


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


def _learners(cursor: Cursor, learner_ids: Set[str], cells: _Cells) -> dict[str, _Learner]:
    """What the learners have before the batch; adds the cells of their awards to `cells`."""
    cursor.execute(OF_LEARNERS, (" ".join(filter(UUID.fullmatch, learner_ids)),))
    rows = cursor.fetchall()
    missing = {cell for _, cell, _ in rows} - cells.by_id.keys()
    if missing:
        cursor.execute(
            f"SELECT id, {names(Cell)} FROM statistics_cell WHERE id = ANY(%s)", (sorted(missing),)
        )
        cells.by_id.update((number, Cell(*rest)) for number, *rest in cursor.fetchall())
    learners = {learner_id: _Learner(set(), 0, {}) for learner_id, _, _ in rows}
    for learner_id, cell, held in rows:
        learner, institution = learners[learner_id], cells.by_id[cell].institution
        learner.cells.add(cell)
        learner.held += held
        learner.held_there[institution] = learner.held_there.get(institution, 0) + held
    return learners


def _learners_of(cursor: Cursor, revoked: Set[str]) -> dict[str, str]:
    """The learners of revoked badges, by badge."""
    if not revoked:
        return {}
    cursor.execute(OF_REVOKED, (" ".join(revoked),))
    return dict(cursor.fetchall())


def _badges(cursor: Cursor, owners: Mapping[str, str]) -> dict[str, _Badge]:
    """Badges as they were counted so far, from the rows of their learners."""
    known = {badge: learner for badge, learner in owners.items() if UUID.fullmatch(learner)}
    if not known:
        return {}
    cursor.execute(OF_BADGES, (" ".join(known), " ".join(known.values())))
    return {badge_id: _Badge(*rest) for badge_id, *rest in cursor.fetchall()}


class _Overlaps(dict[tuple[int, ...], int]):
    """The ids of overlaps; one that is new is added."""

    def __init__(self, cursor: Cursor) -> None:
        super().__init__()
        self._cursor = cursor

    def __call__(self, sets: tuple[int, ...]) -> int:
        return self[sets]

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


def _block(position: int) -> int:
    return (position - 1) // BLOCK


def _add_sums(cursor: Cursor, changes: Sequence[ChangeRow]) -> None:
    # Most changes of a page count the same in the same cell.
    alike = Counter((_block(row.position), row.cell, _sums_of(row)) for row in changes)
    sums: dict[tuple[int, int], tuple[int, ...]] = {}
    for (block, cell, counted), times in alike.items():
        for key in ((block, cell), (NOW, cell)):
            so_far = sums.get(key, (0,) * len(SUMS))
            sums[key] = tuple(sum_ + times * added for sum_, added in zip(so_far, counted, strict=True))
    rows = [
        SumRow(**dict(zip(SUMS, added, strict=True)), block=block, cell=cell)
        for (block, cell), added in sums.items()
    ]
    _upsert(cursor, SumRow, ("block", "cell"), rows)


def _add_repeats(cursor: Cursor, changes: Sequence[ChangeRow]) -> None:
    counted: Counter[tuple[int, int, int]] = Counter()
    for row in changes:
        if row.overlap is not None:
            counted[_block(row.position), row.cell, row.overlap] += 1
            counted[NOW, row.cell, row.overlap] += 1
    rows = [RepeatRow(*key, awards=awards) for key, awards in counted.items()]
    _upsert(cursor, RepeatRow, ("block", "cell", "overlap"), rows)


def _add_holdings(cursor: Cursor, moves: Sequence[_Move]) -> None:
    counted: Counter[tuple[int, str, int]] = Counter()
    # Most learners of a page come to hold the same number.
    for (move_block, step, total, brin, there), learners in Counter(moves).items():
        for block in (move_block, NOW):
            for institution, held in (("", total), (brin, there)):
                counted[block, institution, held] += learners
                counted[block, institution, held - step] -= learners
    rows = [HoldingRow(*key, learners=learners) for key, learners in counted.items() if key[2]]
    _upsert(cursor, HoldingRow, ("block", "institution", "held"), rows)


def _upsert(cursor: Cursor, table: type[Row], key: Sequence[str], rows: Sequence[Row]) -> None:
    """Adds the figures of rows to those of the same key."""
    if not rows:
        return
    # Sorted by the key, as in every upsert.
    values = [msgspec.structs.astuple(row) for row in sorted(rows, key=attrgetter(*key))]
    cursor.execute(
        f"INSERT INTO {table.TABLE} AS s ({names(table)})"
        f" SELECT * FROM unnest({', '.join(f'%s::{kind}[]' for kind in columns(table).values())})"
        f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET "
        + ", ".join(f"{name} = s.{name} + excluded.{name}" for name in columns(table) if name not in key),
        [list(column) for column in zip(*values, strict=True)],
    )

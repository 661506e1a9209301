"""Statistics of awards: figures at any position of the log, and at nothing else.

Awards are counted in cells, one per combination of the dimensions; a cell keeps its sums as of now and
what each block of positions added to them. The figures at an earlier position follow from whole blocks, and
from the changes of its own block one by one. Every change is kept with its day, so that a period that begins
or ends inside a month is counted exactly too.

Distinct learners do not add up, but repeats do: an award counts its learner once more in a group, unless an
earlier award of that learner falls into the same group. So an award that is not its learner's first says
which dimensions it shares with the earlier ones, and is counted by that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Literal, assert_never

import msgspec

from projections.read_model import Condition
from projections.statistics.known import Overlaps, badges_of, cells_of, learners_of, owners_of
from projections.statistics.tables import (
    NOW,
    SUMS,
    TABLES,
    CellRow,
    ChangeRow,
    HoldingRow,
    ModuleRow,
    OverlapRow,
    RepeatRow,
    SumRow,
    block_of,
)
from projections.statistics.tally import Move, Tally
from projections.tables import Row, columns, copy, names
from registry.domain.events import (
    BadgeAwarded,
    BadgeFact,
    Event,
    InstitutionFact,
    MisplacedEventError,
    ModuleRegistered,
    ModuleRevised,
    ModuleWithdrawn,
    OperatorFact,
    TokenFact,
)
from registry.postgres.connections import Cursor


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

    def touched(self, events: Sequence[Event]) -> dict[str, Condition]:
        if not events:
            return {}
        first = min(event.position for event in events)
        of_blocks: Condition = (
            "block = ANY(%s)",
            [[NOW, *{block_of(event.position) for event in events}]],
        )
        any_row: Condition = ("true", [])
        return {
            ChangeRow.TABLE: ("position >= %s", [first]),
            **{table.TABLE: of_blocks for table in (SumRow, RepeatRow, HoldingRow)},
            **{table.TABLE: any_row for table in (CellRow, OverlapRow, ModuleRow)},
        }


def _target_group(fact: ModuleRegistered | ModuleRevised) -> str | None:
    """A module that does not name its group is for professionals; an import may not have found the group."""
    return fact.content.target_group or (None if fact.channel == "import" else "professionals")


def _count(cursor: Cursor, facts: Sequence[tuple[Event, BadgeFact]]) -> None:
    awards = [fact for _, fact in facts if isinstance(fact, BadgeAwarded)]
    cells = cells_of(cursor, awards)
    owners = {
        event.originator_id: fact.learner_id for event, fact in facts if not isinstance(fact, BadgeAwarded)
    }
    owners |= owners_of(cursor, {fact.supersedes for fact in awards if fact.supersedes} - owners.keys())
    tally = Tally(
        awarded=iter(cells.of_awards),
        learners=learners_of(cursor, {fact.learner_id for _, fact in facts}, cells),
        cells=cells.by_id,
        later=owners.keys(),
        badges=badges_of(cursor, owners),
        overlap=Overlaps(cursor).__getitem__,
    )
    for event, fact in facts:
        tally.add(event, fact)
    if tally.changes:
        copy(cursor, tally.changes)
        _add_sums(cursor, tally.changes)
        _add_repeats(cursor, tally.changes)
        _add_holdings(cursor, tally.moves)


_counted = attrgetter("cell", *SUMS)


def _add_sums(cursor: Cursor, changes: Sequence[ChangeRow]) -> None:
    # Most changes of a page count the same in the same cell.
    alike = Counter(zip((block_of(row.position) for row in changes), map(_counted, changes), strict=True))
    sums: dict[tuple[int, int], tuple[int, ...]] = {}
    for (block, (cell, *counted)), times in alike.items():
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
            counted[block_of(row.position), row.cell, row.overlap] += 1
            counted[NOW, row.cell, row.overlap] += 1
    rows = [RepeatRow(*key, awards=awards) for key, awards in counted.items()]
    _upsert(cursor, RepeatRow, ("block", "cell", "overlap"), rows)


def _add_holdings(cursor: Cursor, moves: Mapping[Move, int]) -> None:
    counted: Counter[tuple[int, str, int]] = Counter()
    for (move_block, step, total, brin, there), learners in moves.items():
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

"""The tables of the statistics, as classes and as SQL.

Awards are counted in cells, one for each combination of the dimensions. Sums are kept as of now and by block
of positions, and every change behind them as a row of its own.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Annotated, Self

from projections.tables import BigInt, Bytea, Date, Integer, Row, SmallInt, Text, Uuid, columns

BLOCK = 65_536
NOW = -1
"""The number of the block under which the sums stand as of now."""


def block_of(position: int) -> int:
    """The block of a position; of position 0, before the first event, the one before the first."""
    return (position - 1) // BLOCK


def end_of(block: int) -> int:
    """The last position of a block."""
    return (block + 1) * BLOCK


class Cell(Row, frozen=True):
    """The dimensions by which awards are counted; the last digits of an ISCED-F code may be missing."""

    institution: Text
    module: Uuid
    month: Date
    quarter: Text
    year: Text
    sector: Text
    nlqf: Text | None
    isced: Text | None
    isced_narrow: Text | None
    isced_broad: Text | None
    programme: Text | None
    target_group: Text | None
    channel: Text

    @classmethod
    def of(
        cls,
        institution: str,
        module: str,
        day: dt.date,
        sector: str,
        nlqf: str | None,
        isced: str | None,
        programme: str | None,
        target_group: str | None,
        channel: str,
    ) -> Self:
        return cls(
            institution,
            module,
            day.replace(day=1),
            f"{day.year:04}-Q{(day.month + 2) // 3}",
            f"{day.year:04}",
            sector,
            nlqf,
            isced,
            isced[:3] if isced is not None and len(isced) > 2 else None,
            isced[:2] if isced is not None else None,
            programme,
            target_group,
            channel,
        )


CELL_DIMENSIONS = tuple(columns(Cell))


def dimension_bits(names: Iterable[str]) -> int:
    """A set of dimensions as a number: the bit of a dimension is its place in `CELL_DIMENSIONS`."""
    return sum(1 << CELL_DIMENSIONS.index(name) for name in names)


ALL_DIMENSIONS = dimension_bits(CELL_DIMENSIONS)


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


SUMS = tuple(columns(Sums))


class SumRow(Sums, frozen=True):
    TABLE = "statistics_sum"
    block: Integer
    cell: Integer


class OverlapRow(Row, frozen=True):
    """What an award shares with earlier ones of its learner: the largest sets of dimensions, as bits."""

    TABLE = "statistics_overlap"
    id: Integer
    dimensions: Annotated[list[int], "_int2"]


class RepeatRow(Row, frozen=True):
    """How many awards of a cell are not the first of their learner, by what they share with earlier ones."""

    TABLE = "statistics_repeat"
    block: Integer
    cell: Integer
    overlap: Integer
    awards: BigInt


class HoldingRow(Row, frozen=True):
    """How many learners hold a number of microcredentials, awarded by one institution or by any (`''`)."""

    TABLE = "statistics_holding"
    block: Integer
    institution: Text
    held: Integer
    learners: BigInt


class ModuleRow(Row, frozen=True):
    """What the award of a module version leaves to that version."""

    TABLE = "statistics_module"
    module: Uuid
    version: Integer
    target_group: Text | None


class ChangeRow(Row, frozen=True):
    """The numbers that one event adds to the sums of a cell, and what it did to a badge and its learner."""

    TABLE = "statistics_change"
    position: BigInt
    cell: Integer
    day: Date
    learner: Uuid
    badge: Uuid
    awarded: SmallInt = 0
    revoked: SmallInt = 0
    superseded: SmallInt = 0
    suspended: SmallInt = 0
    half_credits: Integer = 0
    sbu: Integer = 0
    overlap: Integer | None = None
    held: Integer | None = None
    held_there: Integer | None = None
    reason: Text | None = None
    recorded_on: Date | None = None


TABLES = f"""
CREATE TABLE statistics_cell (
    id integer PRIMARY KEY,
    key bytea NOT NULL UNIQUE,
    institution text NOT NULL,
    module uuid NOT NULL,
    month date NOT NULL,
    quarter text NOT NULL,
    year text NOT NULL,
    sector text NOT NULL,
    nlqf text,
    isced text,
    isced_narrow text,
    isced_broad text,
    programme text,
    target_group text,
    channel text NOT NULL
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
CREATE TABLE statistics_overlap (
    id integer PRIMARY KEY,
    dimensions smallint[] NOT NULL UNIQUE
);
COMMENT ON TABLE statistics_overlap IS 'what an award shares with the earlier awards of its learner';
COMMENT ON COLUMN statistics_overlap.id IS 'in the order of their first use: the same in every rebuild';
COMMENT ON COLUMN statistics_overlap.dimensions IS 'the largest shared sets of dimensions, each as bits';
CREATE TABLE statistics_repeat (
    block integer NOT NULL,
    cell integer NOT NULL,
    overlap integer NOT NULL,
    awards bigint NOT NULL,
    PRIMARY KEY (block, cell, overlap)
);
CREATE TABLE statistics_holding (
    block integer NOT NULL,
    institution text NOT NULL,
    held integer NOT NULL,
    learners bigint NOT NULL,
    PRIMARY KEY (block, institution, held)
);
CREATE TABLE statistics_module (
    module uuid NOT NULL,
    version integer NOT NULL,
    target_group text,
    PRIMARY KEY (module, version)
);
CREATE TABLE statistics_change (
    position bigint NOT NULL,
    cell integer NOT NULL,
    day date NOT NULL,
    learner uuid NOT NULL,
    badge uuid NOT NULL,
    awarded smallint NOT NULL,
    revoked smallint NOT NULL,
    superseded smallint NOT NULL,
    suspended smallint NOT NULL,
    half_credits integer NOT NULL,
    sbu integer NOT NULL,
    overlap integer,
    held integer,
    held_there integer,
    reason text,
    recorded_on date
);
COMMENT ON COLUMN statistics_change.day IS 'of the award';
COMMENT ON COLUMN statistics_change.overlap IS 'of an award that is not the first of its learner';
COMMENT ON COLUMN statistics_change.held IS 'by the learner after an award or a revocation';
COMMENT ON COLUMN statistics_change.held_there IS 'the same, of badges of this institution alone';
COMMENT ON COLUMN statistics_change.reason IS 'of a revocation';
COMMENT ON COLUMN statistics_change.recorded_on IS 'of a revocation: its day in Amsterdam';
CREATE INDEX statistics_change_by_position ON statistics_change (position);
CREATE INDEX statistics_change_by_day ON statistics_change (day);
CREATE INDEX statistics_change_of_learner ON statistics_change (learner);
CREATE INDEX statistics_change_of_revoked ON statistics_change (badge) WHERE revoked = 1;
GRANT SELECT, INSERT ON statistics_cell, statistics_overlap, statistics_module, statistics_change
    TO registry_project;
GRANT SELECT, INSERT, UPDATE ON statistics_sum, statistics_repeat, statistics_holding TO registry_project;
GRANT SELECT ON statistics_cell, statistics_sum, statistics_overlap, statistics_repeat, statistics_holding,
    statistics_module, statistics_change TO registry_read;
"""

"""The classes of the read models' tables have the columns of the tables as they are in the database."""

from __future__ import annotations

from collections import defaultdict
from typing import get_args

import msgspec

from projections.all import read_models
from projections.statistics.tables import SUMS, ChangeRow
from projections.tables import Row, columns
from tests.postgres.log import query


def row_classes(base: type[Row] = Row) -> list[type[Row]]:
    """The classes of rows that belong to a table or view of a read model."""
    assert read_models()  # their modules are imported
    classes = [row for child in base.__subclasses__() for row in row_classes(child)]
    return [*classes, base] if "TABLE" in vars(base) else classes


def test_every_class_has_the_names_types_and_nulls_of_its_table(url: str) -> None:
    tables: dict[str, dict[str, tuple[str, bool]]] = defaultdict(dict)
    for table, column, kind, nullable in query(
        url,
        "SELECT c.table_name, c.column_name, c.udt_name, c.is_nullable = 'YES'"
        " FROM read_model CROSS JOIN unnest(relations) AS relation"
        " JOIN information_schema.columns c ON c.table_schema = 'public' AND c.table_name = relation",
    ):
        tables[table][column] = (kind, nullable)
    # PostgreSQL says of each column of a view that it may be null: the table behind it knows better.
    status = tables["badge_status"]
    tables["badge_status"] = {name: column for name, column in tables["badge"].items() if name in status}
    rows = {row.TABLE: row for row in row_classes()}
    assert len(rows) == len(row_classes()), "two classes name the same table"
    assert tables == {table: _columns(row) for table, row in rows.items()}


def _columns(row: type[Row]) -> dict[str, tuple[str, bool]]:
    kinds = columns(row)
    return {
        member.name: (kinds[member.name], type(None) in get_args(member.type))
        for member in msgspec.structs.fields(row)
    }


def test_a_change_has_every_sum() -> None:
    assert set(SUMS) <= set(columns(ChangeRow))

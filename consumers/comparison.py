"""Compares two copies of a read model: the one in use, and one in a schema of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from projections.read_model import Condition
from registry.postgres.connections import Cursor

MAX_NAMED = 5
"""The number of rows that are named where the copies of a table differ."""


@dataclass(frozen=True)
class Difference:
    """How the copies of a table differ: the number of rows that only one of them has, and the first keys."""

    table: str
    only_old: int
    only_new: int
    keys: list[str]

    def __str__(self) -> str:
        return (
            f"{self.table}: rows only in the old copy {self.only_old}, only in the new copy {self.only_new},"
            f" the first of {', '.join(self.keys)}"
        )


def compared(
    cursor: Cursor, schema: str, parts: Iterable[Mapping[str, Condition]]
) -> tuple[int, list[Difference]]:
    """The number of rows, and the differences; each part says which rows to compare, by table."""
    rows, differences = 0, []
    for part in parts:
        for table, condition in part.items():
            old = _digest(cursor, f"public.{table}", condition)
            new = _digest(cursor, f"{schema}.{table}", condition)
            rows += new[0]
            if old != new:
                differences.append(_difference(cursor, table, schema, condition))
    return rows, differences


def _digest(cursor: Cursor, table: str, condition: Condition) -> tuple[int, Any]:
    """The number of rows, and a sum of the hashes of their contents."""
    text, values = condition
    cursor.execute(f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {table} t WHERE {text}", values)
    return cursor.fetchone() or (0, None)


def _difference(cursor: Cursor, table: str, schema: str, condition: Condition) -> Difference:
    counts, keys, (text, values) = [], set[str](), condition
    # The first column is that of the key: an id or a position, never personal data.
    cursor.execute("SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum = 1", (table,))
    (key,) = cursor.fetchone() or ("",)
    for one, other in ((f"public.{table}", f"{schema}.{table}"), (f"{schema}.{table}", f"public.{table}")):
        cursor.execute(
            f"SELECT count(*), (array_agg(d.key ORDER BY d.key))[:{MAX_NAMED}] FROM"
            f" (SELECT t.{key}::text AS key, t::text FROM {one} t WHERE {text}"
            f" EXCEPT ALL SELECT t.{key}::text, t::text FROM {other} t WHERE {text}) d",
            [*values, *values],
        )
        count, first = cursor.fetchone() or (0, None)
        counts.append(count)
        keys.update(first or ())
    return Difference(table, counts[0], counts[1], sorted(keys)[:MAX_NAMED])

"""Statements that PostgreSQL parses and plans once for each connection."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence

import psycopg2.errors

from registry.postgres.connections import Cursor


def execute_prepared(cursor: Cursor, query: str, values: Sequence[object]) -> None:
    """Executes a query of a few constant texts, outside of a transaction; `%s` stands for each value."""
    name, run = _named(query, len(values))
    try:
        cursor.execute(run, values)
    except psycopg2.errors.InvalidSqlStatementName:
        places = tuple(f"${number}" for number in range(1, len(values) + 1))
        cursor.execute(f"PREPARE {name} AS {query % places}")
        cursor.execute(run, values)


@functools.cache
def _named(query: str, count: int) -> tuple[str, str]:
    """The name of a query on each connection, and the statement that runs it."""
    name = f"q_{hashlib.sha256(query.encode()).hexdigest()[:16]}"
    return name, f"EXECUTE {name} ({', '.join(['%s'] * count)})"

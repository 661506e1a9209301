"""Statements that PostgreSQL parses and plans once for each connection."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import cast

from registry.postgres.connections import Cursor, PatientConnection


def execute_prepared(cursor: Cursor, query: str, values: Sequence[object]) -> None:
    """Executes a query of a few constant texts; `%s` stands for each value."""
    name, run = _named(query, len(values))
    prepared = cast("PatientConnection", cursor.connection).prepared
    if name not in prepared:
        places = tuple(f"${number}" for number in range(1, len(values) + 1))
        cursor.execute(f"PREPARE {name} AS {query % places}")
        prepared.add(name)
    cursor.execute(run, values)


@functools.cache
def _named(query: str, count: int) -> tuple[str, str]:
    """The name of a query on each connection, and the statement that runs it."""
    name = f"q_{hashlib.sha256(query.encode()).hexdigest()[:16]}"
    return name, f"EXECUTE {name} ({', '.join(['%s'] * count)})"

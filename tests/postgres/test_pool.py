"""The pool of connections: what one statement meets, and what all connections meet."""

from __future__ import annotations

import psycopg2.errors
import pytest

from registry.postgres.connections import Cursor, Pool, TooSlowError, UnavailableError
from tests.postgres.log import execute


def sessions(pool: Pool, count: int) -> set[int]:
    """The sessions of the connections that are lent next, in PostgreSQL's numbers."""
    with pool.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        ((number,),) = cursor.fetchall()
        return {number} | (sessions(pool, count - 1) if count > 1 else set())


def go_on_after_the_end(url: str, cursor: Cursor) -> None:
    cursor.execute("SELECT pg_backend_pid()")
    ((number,),) = cursor.fetchall()
    execute(url, f"SELECT pg_terminate_backend({number})")
    cursor.execute("SELECT 1")


def test_a_slow_statement_is_its_own_fault_and_closes_no_connection(url: str) -> None:
    pool = Pool(url, "registry_read", 3, statement_timeout_ms=100)
    before = sessions(pool, 3)
    with pytest.raises(TooSlowError), pool.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(60)")
    with pytest.raises(TooSlowError), pool.transaction() as cursor:
        cursor.execute("SELECT pg_sleep(60)")
    assert sessions(pool, 3) == before
    pool.close()


@pytest.mark.parametrize(
    "error", ["serialization_failure", "deadlock_detected", "lock_not_available", "out_of_memory"]
)
def test_a_conflict_of_one_statement_is_worth_another_try_and_closes_no_connection(
    error: str, url: str
) -> None:
    pool = Pool(url, "registry_read", 3)
    before = sessions(pool, 3)
    with pytest.raises(UnavailableError), pool.cursor() as cursor:
        cursor.execute(f"DO $$ BEGIN RAISE {error}; END $$")
    assert sessions(pool, 3) == before
    pool.close()


def test_where_the_server_ends_a_session_all_idle_connections_are_made_again(url: str) -> None:
    pool = Pool(url, "registry_read", 3)
    before = sessions(pool, 3)
    with pytest.raises(UnavailableError), pool.cursor() as cursor:
        go_on_after_the_end(url, cursor)
    assert sessions(pool, 3).isdisjoint(before)
    pool.close()


def test_a_fault_of_the_statement_is_no_want_of_a_server(url: str) -> None:
    pool = Pool(url, "registry_read", 1)
    with pytest.raises(psycopg2.errors.UndefinedTable), pool.cursor() as cursor:
        cursor.execute("SELECT 1 FROM no_such_table")
    pool.close()

"""The pool of connections: what one statement meets, and what all connections meet."""

from __future__ import annotations

import gc
import io
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg2
import psycopg2.errors
import pytest
from psycopg2.extensions import parse_dsn

from registry.postgres.connections import (
    Cursor,
    PatientConnection,
    Pool,
    TooSlowError,
    UnavailableError,
    connect,
)
from registry.postgres.prepared import execute_prepared
from tests.postgres.log import execute
from tests.support import Service


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


@pytest.mark.parametrize("statement", ["SELECT 1", "COPY (SELECT 1) TO STDOUT"])
def test_the_place_of_a_connection_that_never_answers_is_given_back(url: str, statement: str) -> None:
    """The session alone stands still, so that PostgreSQL cannot end the statement; others go on."""
    pool = Pool(url, "registry_read", 1, statement_timeout_ms=100)
    (still,) = sessions(pool, 1)
    os.kill(still, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(1) as thread:
            asking = thread.submit(_execute, pool, statement)
            try:
                with pytest.raises(UnavailableError):
                    asking.result(60)
                assert sessions(pool, 1).isdisjoint({still})
            finally:
                os.kill(still, signal.SIGCONT)
    finally:
        pool.close()


def _execute(pool: Pool, statement: str) -> None:
    with pool.cursor() as cursor:
        cursor.copy_expert(statement, io.StringIO()) if "COPY" in statement else cursor.execute(statement)


def test_a_connection_without_patience_waits_for_a_statement_as_long_as_it_takes(url: str) -> None:
    """As those of the commands of operators."""
    patient, impatient = connect(url), connect(url, None, 0.5)
    with pytest.raises(psycopg2.OperationalError), impatient.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(60)")
    with patient.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(3)")
        cursor.execute("SELECT 1")
        assert cursor.fetchall() == [(1,)]
    patient.close()
    impatient.close()


def test_each_connection_of_a_serving_process_waits_for_an_answer_only_so_long(service: Service) -> None:
    service.admitted()
    service.settle()
    name = parse_dsn(service.url)["dbname"]
    found = [
        (each.info.dsn_parameters["application_name"], each.patience)
        for each in gc.get_objects()
        if isinstance(each, PatientConnection) and not each.closed and each.info.dbname == name
    ]
    assert {"registry_read", "registry_write", "registry_project"} <= {role for role, _ in found}
    assert all(patience for role, patience in found if role != "registry")


def test_the_first_use_of_a_prepared_query_on_a_connection_is_no_error(url: str) -> None:
    """An error would stand in PostgreSQL's log with the statement and its values, and end a transaction."""
    for _ in range(2):
        with closing(connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute("BEGIN")
            for number in range(3):
                execute_prepared(cursor, "SELECT %s::int + 1", (number,))
                assert cursor.fetchall() == [(number + 1,)]
            cursor.execute("SELECT count(*) FROM pg_prepared_statements")
            assert cursor.fetchall() == [(1,)]
            cursor.execute("COMMIT")

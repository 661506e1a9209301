"""Migrations: forward only, applied once, and never by an older release than the database's."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from importlib import resources

import psycopg2
import pytest

from projections.all import read_models
from projections.read_model import install
from registry.cli import database
from registry.event_store.migrate import (
    Migration,
    SchemaTooNewError,
    WrongEncodingError,
    migrate,
    migrations,
    pending,
)
from registry.postgres.connections import connect
from tests.postgres.commands import admitted, registry_on
from tests.postgres.log import connection, execute, later, query
from tests.support import Databases


@pytest.fixture
def bare(databases: Databases) -> Iterator[str]:
    """A database without anything in it."""
    execute(databases.url("postgres"), "CREATE DATABASE bare")
    url = databases.url("bare")
    yield url
    databases.drop(url)


def schema(url: str) -> list[tuple[object, ...]]:
    """Every table, column, index, function, trigger, policy and right."""
    return query(
        url,
        "SELECT 'column', table_name::text, column_name::text, data_type::text"
        "   FROM information_schema.columns WHERE table_schema = 'public'"
        " UNION ALL SELECT 'index', tablename, indexname, indexdef"
        "   FROM pg_indexes WHERE schemaname = 'public'"
        " UNION ALL SELECT 'function', proname, '', prosrc FROM pg_proc"
        "   WHERE pronamespace = 'public'::regnamespace"
        " UNION ALL SELECT 'trigger', tgrelid::regclass::text, tgname, '' FROM pg_trigger"
        " UNION ALL SELECT 'policy', tablename, policyname, coalesce(qual, '') FROM pg_policies"
        " UNION ALL SELECT 'right', relname, '', coalesce(relacl::text, '') FROM pg_class"
        "   WHERE relnamespace = 'public'::regnamespace ORDER BY 1, 2, 3, 4",
    )


def test_migrations_are_numbered_without_a_gap() -> None:
    assert [migration.number for migration in migrations()] == list(range(1, len(migrations()) + 1))


def test_a_bare_database_lacks_every_migration_and_says_so(bare: str) -> None:
    with connection(bare) as opened:
        assert pending(opened) == migrations()
        with pytest.raises(database.NotMigratedError, match="registry migrate"):
            database.check_migrated(opened)


def test_migrating_twice_changes_nothing_more(bare: str) -> None:
    with connection(bare) as opened:
        assert migrate(opened) == [f"{migration.number:04} {migration.name}" for migration in migrations()]
        assert install(opened, read_models()) == [model.name for model in read_models()]
        once = schema(bare)
        assert migrate(opened) == []
        assert install(opened, read_models()) == []
        database.check_migrated(opened)
    assert schema(bare) == once


def test_processes_that_migrate_at_once_wait_for_each_other(bare: str) -> None:
    begin = threading.Barrier(4)

    def work() -> list[str]:
        with connection(bare) as opened:
            begin.wait()
            return migrate(opened) + install(opened, read_models())

    done = [later(work) for _ in range(4)]
    applied = sorted(name for each in done for name in each.result(20))
    expected = [f"{migration.number:04} {migration.name}" for migration in migrations()]
    assert applied == sorted(expected + [model.name for model in read_models()])


def later_migration(url: str, compatible_from: int) -> None:
    execute(
        url,
        "INSERT INTO migration (number, name, compatible_from) VALUES (9999, 'of the future', %s)",
        (compatible_from,),
    )


def test_a_release_works_with_later_migrations_that_are_compatible_with_it(url: str) -> None:
    later_migration(url, compatible_from=migrations()[-1].number)
    execute(url, "ALTER FUNCTION append SET lock_timeout = '4s'")
    before = schema(url)
    with connection(url) as opened:
        database.check_migrated(opened)
        assert migrate(opened) == []
    assert schema(url) == before
    (settings,) = query(url, "SELECT proconfig FROM pg_proc WHERE proname = 'append'")
    assert settings == (["lock_timeout=4s"],), "the append of the later release was replaced"
    with registry_on(url) as registry:
        admitted(registry, "27UM")


@pytest.mark.parametrize("migration", migrations(), ids=lambda migration: migration.name)
def test_a_migration_is_compatible_with_itself_or_with_an_earlier_release(migration: Migration) -> None:
    assert 0 < migration.compatible_from <= migration.number


def test_a_database_of_a_later_release_is_refused_and_left_as_it_is(url: str) -> None:
    later_migration(url, compatible_from=9998)
    before = schema(url)
    opened = connect(url)
    for refused in (migrate, database.check_migrated):
        with pytest.raises(SchemaTooNewError, match="9999"):
            refused(opened)
    assert schema(url) == before
    with opened.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
        assert cursor.fetchone() == (0,)
    opened.close()


def test_a_migration_that_fails_leaves_nothing_of_itself(bare: str) -> None:
    execute(bare, "CREATE TABLE token (a int)")
    with connection(bare) as opened:
        with pytest.raises(Exception, match="token"):
            migrate(opened)
        assert query(bare, "SELECT count(*) FROM migration") == [(0,)]
        assert query(bare, "SELECT to_regclass('event')") == [(None,)]
        execute(bare, "DROP TABLE token")
        assert len(migrate(opened)) == len(migrations())


def test_a_database_in_another_encoding_is_refused_and_left_as_it_is(databases: Databases) -> None:
    execute(
        databases.url("postgres"),
        "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'",
    )
    url = databases.url("latin")
    before = schema(url)
    with connection(url) as opened, pytest.raises(WrongEncodingError, match="LATIN1"):
        migrate(opened)
    assert schema(url) == before
    databases.drop(url)


LAST = (10, "2efa0bb88a80a6f9800d7cc12a8666e969d6568d34df098c235d0a3765ef6520")
"""The number of the last migration, and the SHA-256 of append.sql as that migration installs it."""


def test_a_changed_append_comes_with_a_migration() -> None:
    """A service asks for `registry migrate` by the numbers of migrations alone."""
    text = (resources.files("registry.event_store") / "append.sql").read_text()
    assert (migrations()[-1][0], hashlib.sha256(text.encode()).hexdigest()) == LAST


def test_a_migration_that_dies_leaves_no_database_that_cannot_append(bare: str) -> None:
    with connection(bare) as opened, opened.cursor() as cursor:
        cursor.execute("CREATE TABLE stream (id integer)")  # a later migration fails on it
        with pytest.raises(psycopg2.Error):
            migrate(opened)
        cursor.execute("SELECT max(number) FROM migration")
        assert cursor.fetchone() != (migrations()[-1][0],)
        cursor.execute(
            "SELECT to_regprocedure('append(append_row[],text[],bigint[],timestamptz)') IS NOT NULL"
        )
        assert cursor.fetchone() == (True,)

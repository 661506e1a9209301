"""Forward-only, numbered migrations, each in one transaction; the function that appends; and the logins."""

from __future__ import annotations

from importlib import resources

import psycopg2.errors

from registry.postgres.connections import Connection, Cursor
from registry.postgres.locks import Lock


class SchemaTooNewError(Exception):
    """The database was migrated by a later release than this one."""


class SchemaTooOldError(Exception):
    """The database holds data in a form that no release reads."""


class WrongEncodingError(Exception):
    """The database would store a text as bytes other than those sent."""


def migrations() -> list[tuple[int, str, str]]:
    """Number, name and SQL of every migration, in order."""
    folder = resources.files("registry.event_store.migrations")
    files = [file for file in folder.iterdir() if file.name.endswith(".sql")]
    return sorted((int(file.name[:4]), file.name[5:-4], file.read_text()) for file in files)


def _sql(name: str) -> str:
    return (resources.files("registry.event_store") / name).read_text()


def pending(connection: Connection) -> list[tuple[int, str, str]]:
    """The migrations that this database still needs."""
    with connection.cursor() as cursor:
        _check_encoding(cursor)
        cursor.execute("SELECT to_regclass('migration') IS NOT NULL")
        (exists,) = cursor.fetchone() or (False,)
        if exists:
            cursor.execute("SELECT number FROM migration")
        applied = {number for (number,) in cursor.fetchall()} if exists else set()
    known = migrations()
    if newer := applied - {number for number, _, _ in known}:
        raise SchemaTooNewError(f"the database has migration {max(newer)}, which this release does not know")
    return [migration for migration in known if migration[0] not in applied]


def _check_encoding(cursor: Cursor) -> None:
    cursor.execute("SHOW server_encoding")
    (encoding,) = cursor.fetchone() or ("",)
    if encoding != "UTF8":
        raise WrongEncodingError(f"the database must have the encoding UTF8, not {encoding}")


def migrate(connection: Connection) -> list[str]:
    """Applies pending migrations; returns their names. Concurrent processes wait for each other."""
    applied: list[str] = []
    with connection.cursor() as cursor:
        _check_encoding(cursor)
        cursor.execute("SELECT pg_advisory_lock(%s)", (Lock.MIGRATE,))
        try:
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS migration ("
                "number integer PRIMARY KEY, name text NOT NULL,"
                " applied_at timestamptz NOT NULL DEFAULT now())"
            )
            for number, name, sql in pending(connection):
                cursor.execute("BEGIN")
                try:
                    cursor.execute(sql)
                except psycopg2.errors.ObjectNotInPrerequisiteState as error:
                    raise SchemaTooOldError(
                        "the database was made before the first release: load the data anew into an empty one"
                    ) from error
                # In each transaction, so that no database with a migration lacks the function.
                cursor.execute(_sql("append.sql"))
                cursor.execute("INSERT INTO migration (number, name) VALUES (%s, %s)", (number, name))
                cursor.execute("COMMIT")
                applied.append(f"{number:04} {name}")
            cursor.execute(_sql("append.sql"))
            cursor.execute(_sql("logins.sql"))
        finally:
            if connection.info.transaction_status:
                cursor.execute("ROLLBACK")
            cursor.execute("SELECT pg_advisory_unlock(%s)", (Lock.MIGRATE,))
    return applied

"""Forward-only, numbered migrations, each in one transaction; the function that appends; and the logins."""

from __future__ import annotations

from importlib import resources
from typing import NamedTuple

from registry.failures import Failure
from registry.postgres.connections import Connection, Cursor
from registry.postgres.locks import Lock


class SchemaTooNewError(Failure):
    """The database was migrated by a later release, in a way that this one cannot work with."""


class WrongEncodingError(Failure):
    """The database would store a text as bytes other than those sent."""


_MARK = "-- compatible from: "


class Migration(NamedTuple):
    """A release that knows all migrations up to `compatible_from` can work with the database after this one.

    It is the migration's own number, unless its SQL has a line `-- compatible from: N`.
    """

    number: int
    name: str
    sql: str
    compatible_from: int


def migrations() -> list[Migration]:
    """Every migration of this release, in order."""
    folder = resources.files("registry.event_store.migrations")
    files = sorted((file.name, file.read_text()) for file in folder.iterdir() if file.name.endswith(".sql"))
    return [_migration(name, sql) for name, sql in files]


def _migration(name: str, sql: str) -> Migration:
    number = int(name[:4])
    marks = [line.removeprefix(_MARK) for line in sql.splitlines() if line.startswith(_MARK)]
    return Migration(number, name[5:-4], sql, int(marks[0]) if marks else number)


def _sql(name: str) -> str:
    return (resources.files("registry.event_store") / name).read_text()


def pending(connection: Connection) -> list[Migration]:
    """The migrations that this database still needs.

    Raises `SchemaTooNewError` where it has one that this release does not know and is not compatible with.
    """
    known = migrations()
    with connection.cursor() as cursor:
        _check_encoding(cursor)
        cursor.execute("SELECT to_regclass('migration') IS NOT NULL")
        (exists,) = cursor.fetchone() or (False,)
        if exists:
            cursor.execute("SELECT number, compatible_from FROM migration")
        applied: dict[int, int] = dict(cursor.fetchall()) if exists else {}
    last = known[-1].number
    for number, compatible_from in sorted(applied.items()):
        if number > last and compatible_from > last:
            raise SchemaTooNewError(f"the database has migration {number}; install a release that knows it")
    return [migration for migration in known if migration.number not in applied]


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
                " applied_at timestamptz NOT NULL DEFAULT now(), compatible_from integer NOT NULL)"
            )
            for number, name, sql, compatible_from in pending(connection):
                cursor.execute("BEGIN")
                cursor.execute(sql)
                # In each transaction, so that no database with a migration lacks the function.
                cursor.execute(_sql("append.sql"))
                cursor.execute(
                    "INSERT INTO migration (number, name, compatible_from) VALUES (%s, %s, %s)",
                    (number, name, compatible_from),
                )
                cursor.execute("COMMIT")
                applied.append(f"{number:04} {name}")
            cursor.execute("SELECT max(number) FROM migration")
            if cursor.fetchone() == (migrations()[-1].number,):  # else they are of a later release
                cursor.execute(_sql("append.sql"))
                cursor.execute(_sql("logins.sql"))
        finally:
            if connection.info.transaction_status:
                cursor.execute("ROLLBACK")
            cursor.execute("SELECT pg_advisory_unlock(%s)", (Lock.MIGRATE,))
    return applied

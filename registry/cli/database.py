"""Opening a registry's database: embedded or not, migrated, with the secrets that belong to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from registry.event_store.migrate import pending
from registry.failures import Failure
from registry.keys import KeyFileError, Keys, create_key_file, read_key_file
from registry.postgres.connections import Connection, Cursor, Login, connect
from registry.postgres.embedded import EmbeddedPostgres
from registry.postgres.locks import Lock
from registry.settings import PREFIX, Settings, SettingsError


class NotMigratedError(Failure):
    """The database needs migrations of this release."""


@contextlib.contextmanager
def started(settings: Settings, login: Login) -> Iterator[str]:
    """The connection string of the registry's database for a login.

    An embedded server runs until the block ends. On a database of the operator's own, DATABASE_URL is the
    login of this process, and OWNER_DATABASE_URL the owner's.
    """
    if settings.database_url is None and settings.owner_database_url is None:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        with EmbeddedPostgres(settings.data_dir) as embedded:
            yield embedded.url_as(login)
        return
    name, url = (
        ("OWNER_DATABASE_URL", settings.owner_database_url)
        if login == "registry_owner"
        else ("DATABASE_URL", settings.database_url)
    )
    if url is None:
        raise SettingsError(f"{PREFIX}{name} must be set: this command logs in as {login}")
    yield url


@contextlib.contextmanager
def owner(url: str) -> Iterator[Connection]:
    """A connection as the owner of the tables, for the commands of operators."""
    connection = connect(url)
    try:
        yield connection
    finally:
        connection.close()


def check_migrated(connection: Connection) -> None:
    if missing := pending(connection):
        migrations = f"{len(missing)} migration{'s' if len(missing) > 1 else ''}"
        raise NotMigratedError(f"The database needs {migrations}; run `registry migrate`.")


def read_keys(cursor: Cursor, settings: Settings) -> Keys:
    """The secrets in the key file, checked against the fingerprints that the database holds."""
    cursor.execute("SELECT name, fingerprint FROM secret")
    keys = read_key_file(settings.key_file)
    if keys.fingerprints() != dict(cursor.fetchall()):
        raise KeyFileError(f"{settings.key_file} holds another registry's secrets; set {PREFIX}KEY_FILE.")
    return keys


def open_keys(connection: Connection, settings: Settings) -> Keys:
    """The secrets of this database, which are made where it is empty.

    Otherwise a key file that is missing, or another registry's, is refused.
    """
    path = settings.key_file
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (Lock.KEYS,))
        try:
            cursor.execute("SELECT EXISTS (SELECT FROM secret) OR EXISTS (SELECT FROM event)")
            (used,) = cursor.fetchone() or (True,)
            if not used:
                keys = read_key_file(path) if path.exists() else create_key_file(path)
                cursor.execute(
                    "INSERT INTO secret (name, fingerprint) SELECT * FROM unnest(%s, %s)",
                    (list(keys.fingerprints()), list(keys.fingerprints().values())),
                )
                return keys
            return read_keys(cursor, settings)
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", (Lock.KEYS,))

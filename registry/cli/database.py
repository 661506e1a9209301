"""Opening a registry's database: embedded or not, migrated, with the secrets that belong to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from registry.event_store.migrate import pending
from registry.keys import KeyFileError, Keys, create_key_file, read_key_file
from registry.postgres.connections import Connection, connect
from registry.postgres.embedded import EmbeddedPostgres
from registry.postgres.locks import Lock
from registry.settings import Settings


class NotMigratedError(Exception):
    """The database needs migrations of this release."""


@contextlib.contextmanager
def started(settings: Settings) -> Iterator[str]:
    """The connection string of the registry's database; an embedded server runs until the block ends."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with EmbeddedPostgres(settings.data_dir) as embedded:
        yield embedded.url


@contextlib.contextmanager
def owner(url: str) -> Iterator[Connection]:
    """A connection in the role that logs in, for migrations, tokens and the secrets' fingerprints."""
    connection = connect(url)
    try:
        yield connection
    finally:
        connection.close()


def check_migrated(connection: Connection) -> None:
    if missing := pending(connection):
        migrations = f"{len(missing)} migration{'s' if len(missing) > 1 else ''}"
        raise NotMigratedError(f"The database needs {migrations}; run `registry migrate`.")


def open_keys(connection: Connection, settings: Settings) -> Keys:
    """The secrets of this database, checked against the fingerprints that it holds.

    Secrets are made for an empty database only. Otherwise a key file that is missing, or another
    registry's, is refused.
    """
    path = settings.key_file
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (Lock.KEYS,))
        try:
            cursor.execute("SELECT name, fingerprint FROM secret")
            known = dict(cursor.fetchall())
            cursor.execute("SELECT EXISTS (SELECT FROM event)")
            (used,) = cursor.fetchone() or (True,)
            if not known and not used:
                keys = read_key_file(path) if path.exists() else create_key_file(path)
                cursor.execute(
                    "INSERT INTO secret (name, fingerprint) SELECT * FROM unnest(%s, %s)",
                    (list(keys.fingerprints()), list(keys.fingerprints().values())),
                )
                return keys
            keys = read_key_file(path)
            if keys.fingerprints() != known:
                raise KeyFileError(f"{path} holds another registry's secrets; set REGISTRY_KEY_FILE.")
            return keys
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", (Lock.KEYS,))

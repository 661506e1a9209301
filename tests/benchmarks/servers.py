"""One PostgreSQL for the whole run, and databases on it: a registry's, an empty one, a copy."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from psycopg2.extensions import parse_dsn

from registry.postgres.connections import connect
from registry.postgres.embedded import EmbeddedPostgres
from tests.support import Databases


class Server:
    """Databases are never dropped during the run: that makes a checkpoint, which hits who comes next."""

    def __init__(self, embedded: EmbeddedPostgres) -> None:
        self._databases = Databases(embedded)
        self._numbers = itertools.count()

    def registry(self) -> str:
        """The connection string of a new registry's database."""
        return self._databases.fresh()

    def empty(self) -> str:
        """That of a database without anything in it."""
        return self._make("template1")

    def copy(self, url: str) -> str:
        """That of a copy of a database which nobody uses now."""
        return self._make(parts(url)["dbname"])

    def version(self) -> str:
        connection = connect(self._databases.url("postgres"))
        try:
            return str(connection.info.parameter_status("server_version"))
        finally:
            connection.close()

    def _make(self, template: str) -> str:
        name = f"bench_{next(self._numbers)}"
        connection = connect(self._databases.url("postgres"))
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        finally:
            connection.close()
        return self._databases.url(name)


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    with EmbeddedPostgres(folder) as embedded:
        yield Server(embedded)


def parts(url: str) -> dict[str, str]:
    """Host, user and dbname of a libpq connection string."""
    return parse_dsn(url)


def address(url: str) -> str:
    """The same as the postgresql:// address that the settings take."""
    found = parts(url)
    return f"postgresql://{found['user']}@/{found['dbname']}?host={quote(found['host'], safe='/')}"

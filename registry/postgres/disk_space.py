"""Checks whether the disk has room to record more.

PostgreSQL refuses a row for which it has no room, and continues. But where it cannot extend its write-ahead
log it stops and cannot start again, and then nobody can read. So the last of the disk is left to PostgreSQL,
where this host can see its disk. Elsewhere, and where a quota is smaller than the disk, its refusals tell.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import psycopg2
from psycopg2.extensions import parse_dsn

from registry.postgres.connections import UnavailableError, connect

# Four files of the write-ahead log: more than the read models need to catch up.
RESERVE = 64 * 1024 * 1024
TRY_SECONDS = 1.0
# In this time only a fraction of the reserve can be used up.
LOOK_SECONDS = 0.1
_TRIAL = (
    "CREATE TEMPORARY TABLE trial ON COMMIT DROP AS SELECT repeat('x', 1000) FROM generate_series(1, 2000)"
)


class NoRoomError(UnavailableError):
    """The disk of the database is full: nothing was recorded, and the same may be recorded later."""


class Room:
    """The room on the disk of the database, as far as this process knows it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._folder: Path | None = None
        self._refused = self._short = False
        self._tried = self._looked = 0.0
        self._lock = threading.Lock()

    def check(self) -> None:
        """Raises `NoRoomError` where only the reserve is left."""
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._short = self._is_short()
            self._looked = time.monotonic()
        if self._short:
            raise NoRoomError("the disk is almost full, and the rest is left to PostgreSQL")

    def refused(self) -> None:
        """Notes that PostgreSQL has refused an append because it has no room."""
        self._refused = True

    def recorded(self) -> None:
        self._refused = False

    def is_there(self) -> bool:
        """Whether an append would find room; makes a trial where the last append was refused."""
        if self._is_short():
            return False
        with self._lock:
            if self._refused and time.monotonic() - self._tried > TRY_SECONDS:
                self._refused = not self._finds_room()
                self._tried = time.monotonic()
            return not self._refused

    def _is_short(self) -> bool:
        if self._folder is None:
            self._folder = _data_folder(self._url)
        if self._folder is None:
            return False
        with suppress(OSError):
            # The write-ahead log may be a link to another disk.
            return min(_free(self._folder), _free(self._folder / "pg_wal")) < RESERVE
        return False

    def _finds_room(self) -> bool:
        try:
            with closing(connect(self._url, "registry_write")) as connection, connection.cursor() as cursor:
                cursor.execute(_TRIAL)
        except (psycopg2.Error, UnavailableError):
            return False
        return True


def _free(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def _data_folder(url: str) -> Path | None:
    """The data folder of a PostgreSQL on this host, as the file beside its socket names it, or None."""
    parts = parse_dsn(url)
    host, port = parts.get("host", ""), parts.get("port", "5432")
    if not host.startswith("/"):
        return None
    with suppress(OSError, IndexError):
        return Path(Path(host, f".s.PGSQL.{port}.lock").read_text().splitlines()[1])
    return None

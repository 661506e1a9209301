"""The commands `registry backup` and `registry restore`: a consistent copy of the database, and back.

A backup is a folder with a dump of PostgreSQL and a manifest, which is written last: a folder without it is
no backup. The key file is never in it, because whoever has both can read every name.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec
from psycopg2.extensions import make_dsn, parse_dsn

from registry.cli import database
from registry.cli.common import BackupError, say
from registry.event_store import migrate
from registry.keys import KeyFileError, read_key_file
from registry.postgres import embedded
from registry.postgres.connections import LOGINS, Connection
from registry.settings import Settings

DUMP, MANIFEST = "database.dump", "manifest.json"
FORMAT = 1


class Manifest(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """`position` is the last one in the dump; `fingerprints` tell which key file belongs to it."""

    format: int
    made_at: dt.datetime
    position: int
    last_migration: int
    roles: list[str]
    fingerprints: dict[str, str]
    dump_sha256: str


def run_backup(settings: Settings, arguments: argparse.Namespace) -> int:
    folder: Path = arguments.folder
    if folder.exists() and any(folder.iterdir()):
        raise BackupError(f"{folder} is not empty; name a new folder.")
    with database.started(settings, "registry_owner") as url, database.owner(url) as connection:
        database.check_migrated(connection)
        os.umask(0o077)  # for the files too, where the folder was there already
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with connection.cursor() as cursor:
            # Manifest and dump are of one moment, while awards continue.
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute("SELECT pg_export_snapshot(), coalesce(max(position), 0) FROM event")
            snapshot, position = cursor.fetchone() or ("", 0)
            cursor.execute("SELECT max(number) FROM migration")
            (last_migration,) = cursor.fetchone() or (0,)
            cursor.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'registry\\_%' ORDER BY rolname")
            roles = [role for (role,) in cursor.fetchall()]
            _, fingerprints = _extent(connection)
            dump = folder / DUMP
            _run(settings, url, "pg_dump", f"--snapshot={snapshot}", "--format=custom", f"--file={dump}")
            cursor.execute("COMMIT")
    manifest = Manifest(
        FORMAT, dt.datetime.now(dt.UTC), position, last_migration, roles, fingerprints, _sha256(dump)
    )
    _write_durably(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
    say(f"The key file is not in the backup; keep a copy of {settings.key_file} in another place.")
    say(f"backed up through position {position}")
    return 0


def run_restore(settings: Settings, arguments: argparse.Namespace) -> int:
    folder: Path = arguments.folder
    manifest = _manifest(folder)
    known = {migration.number for migration in migrate.migrations()}
    if manifest.last_migration not in known:
        raise BackupError(
            f"The backup has migration {manifest.last_migration}; install the release that made it, or later."
        )
    if read_key_file(settings.key_file).fingerprints() != manifest.fingerprints:
        raise KeyFileError(
            f"{settings.key_file} holds another registry's secrets; put this backup's key file there."
        )
    with database.started(settings, "registry_owner") as url, database.owner(url) as connection:
        is_there = _is_restored(connection, manifest)
        if not is_there:
            _make_roles(connection, manifest.roles)
            # In one transaction: a restore that was killed leaves an empty database, or the whole one.
            whole = ("--single-transaction", "--exit-on-error", "--no-owner")
            _run(settings, url, "pg_restore", *whole, str(folder / DUMP))
        migrate.migrate(connection)
        position, _ = _extent(connection)
    if position != manifest.position:
        raise BackupError(f"The dump ends at position {position}, not at {manifest.position}.")
    say("Run `registry migrate` before you serve.")
    say(f"{'was restored already' if is_there else 'restored'} through position {position}")
    return 0


def _make_roles(connection: Connection, names: Sequence[str]) -> None:
    """Makes the roles that the dump grants rights to, and that the server lacks."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolname FROM pg_roles")
        missing = set(names) - {role for (role,) in cursor.fetchall()}
        for role in sorted(missing):
            login = "LOGIN NOINHERIT" if role in LOGINS else "NOLOGIN"
            cursor.execute(f'CREATE ROLE "{role}" {login}')
            cursor.execute(f'GRANT "{role}" TO CURRENT_USER')


def _extent(connection: Connection) -> tuple[int, dict[str, str]]:
    """The last position of the log, and the fingerprints of its secrets."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(position), 0) FROM event")
        (position,) = cursor.fetchone() or (0,)
        cursor.execute("SELECT name, fingerprint FROM secret")
        return position, dict(cursor.fetchall())


def _manifest(folder: Path) -> Manifest:
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise BackupError(f"{folder} has no {MANIFEST}: it is not a whole backup.") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BackupError(f"{folder / MANIFEST} is not the manifest of a backup.") from None
    if manifest.format != FORMAT:
        raise BackupError(f"The backup has format {manifest.format}, which this release does not know.")
    if _sha256(folder / DUMP) != manifest.dump_sha256:
        raise BackupError(f"{folder / DUMP} is damaged: its SHA-256 is not that of the manifest.")
    return manifest


def _is_restored(connection: Connection, manifest: Manifest) -> bool:
    """Whether the database holds what the backup does, as where a restore was killed at its very end.

    Refuses any other that is not empty.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p')"
            " AND relnamespace = 'public'::regnamespace"
        )
        tables = {name for (name,) in cursor.fetchall()}
    if not tables:
        return False
    if {"event", "secret"} <= tables and _extent(connection) == (manifest.position, manifest.fingerprints):
        return True
    raise BackupError(
        "The database is not empty; set REGISTRY_DATA_DIR or REGISTRY_DATABASE_URL to a new one."
    )


def _run(settings: Settings, url: str, program: str, *arguments: str) -> None:
    """Runs a program of PostgreSQL: the embedded one's, or the one on the path."""
    path = str(embedded.binaries() / program) if settings.owner_database_url is None else program
    where = parse_dsn(url)
    if "sslpassword" in where:
        raise BackupError(f"{program} cannot be told a sslpassword; use a key file without one.")
    # In the environment, since every user of the host can read the arguments of a process.
    password = {"PGPASSWORD": where.pop("password")} if "password" in where else {}
    try:
        done = subprocess.run(
            [path, "--no-password", f"--dbname={make_dsn(**where)}", *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, **password},
        )
    except FileNotFoundError:
        raise BackupError(f"{program} is not on the path; install PostgreSQL's client programs.") from None
    if done.returncode != 0:
        # The last line may hold a row; the first names what was refused.
        reason = done.stderr.strip().splitlines()[:1]
        raise BackupError(f"{program} failed: {reason[0] if reason else 'no output'}")


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise BackupError(f"{path} is missing: it is not a whole backup.") from None


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())

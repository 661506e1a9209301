"""The parts that the subcommands of `registry` share."""

from __future__ import annotations

import gc
import logging
import os
import threading
from contextlib import closing

from consumers.interventions import NotStoppedError
from consumers.rebuild import RebuildError
from projections.all import read_models
from projections.read_model import NotRebuiltError, check_versions
from registry import logs
from registry.cli import database
from registry.domain.errors import Refusal
from registry.event_store import migrate
from registry.kafka.topic_ends import HistoryError
from registry.kafka.topics import TopicError
from registry.keys import KeyFileError, Keys
from registry.postgres.connections import ROLES, Login, LoginError, UnavailableError, check_login, connect
from registry.postgres.embedded import EmbeddedPostgresError
from registry.settings import Settings, SettingsError


class NotYetRecordedError(Exception):
    """The question is about a time or position that is not recorded yet, so the answer could still change."""


class BackupError(Exception):
    """The backup cannot be made or restored; says why and what to do."""


FAILURES = (
    SettingsError,
    KeyFileError,
    EmbeddedPostgresError,
    migrate.SchemaTooNewError,
    migrate.WrongEncodingError,
    database.NotMigratedError,
    NotRebuiltError,
    NotStoppedError,
    RebuildError,
    HistoryError,
    TopicError,
    LoginError,
    UnavailableError,
    Refusal,
    NotYetRecordedError,
    BackupError,
)
"""The errors that end a command with one sentence and exit status 1."""

log = logging.getLogger("registry")
LAST_RESORT_SECONDS = 8
GC_THRESHOLDS = (10_000, 20, 20)


class UsageError(Exception):
    """The arguments of a command do not fit together."""


def say(line: str) -> None:
    """Prints progress, flushed so that it can be seen at once in a file too; a JSON log has it instead."""
    if logs.is_json():
        log.info(line)
    else:
        print(line, flush=True)


def check_database(url: str, login: Login) -> None:
    """Checks that the database is migrated, and that this process can do what `login` may and no more."""
    with closing(connect(url)) as connection:
        database.check_migrated(connection)
    check_login(url, login)


def check_read_models(url: str, login: Login) -> None:
    """Checks the database, and that its read models have the versions of this release."""
    check_database(url, login)
    with closing(connect(url, ROLES[login][0])) as connection:
        check_versions(connection, read_models())


def checked_keys(url: str, settings: Settings) -> Keys:
    """Checks the database for a process that serves or records, and returns the secrets."""
    check_read_models(url, "registry_serve")
    with closing(connect(url, "registry_read")) as connection, connection.cursor() as cursor:
        return database.read_keys(cursor, settings)


def end_in_time() -> None:
    """Ends the process even if PostgreSQL hangs: everything that was acknowledged is durable already."""
    last_resort = threading.Timer(LAST_RESORT_SECONDS, os._exit, (1,))
    last_resort.daemon = True
    last_resort.start()


def tune_gc() -> None:
    """Freezes what start-up allocated, and makes the garbage collector run rarely.

    A long-running process makes little that only the collector can free. Walking through everything again
    and again cost a sixth of the time of an award, and a quarter of that of an event in the read models.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)

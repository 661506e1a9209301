"""The parts that the subcommands of `registry` share."""

from __future__ import annotations

import gc
import logging
import signal
from contextlib import closing

from projections.all import read_models
from projections.read_model import check_versions
from registry import logs
from registry.cli import database
from registry.failures import Failure
from registry.keys import Keys
from registry.postgres.connections import ROLES, Login, check_login, connect
from registry.settings import Settings


class NotYetRecordedError(Failure):
    """The question is about a time or position that is not recorded yet, so the answer could still change."""


class BackupError(Failure):
    """The backup cannot be made or restored; says why and what to do."""


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
    """Has the kernel end the process, whatever its threads wait for: what was acknowledged is durable.

    An alarm needs no thread, and its default action is to end the process.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(LAST_RESORT_SECONDS)


def tune_gc() -> None:
    """Freezes what start-up allocated, and makes the garbage collector run rarely.

    A long-running process makes little that only the collector can free. Walking through everything again
    and again cost a sixth of the time of an award, and a quarter of that of an event in the read models.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)

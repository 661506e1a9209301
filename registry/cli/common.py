"""What the words of the command `registry` share."""

from __future__ import annotations

import gc
import os
import threading

from consumers.interventions import NotStoppedError
from consumers.rebuild import RebuildError
from projections.all import read_models
from projections.read_model import NotRebuiltError, check_versions
from registry.cli import database
from registry.domain.errors import Refusal
from registry.event_store import migrate
from registry.kafka.topic_ends import HistoryError
from registry.kafka.topics import TopicError
from registry.keys import KeyFileError, Keys
from registry.postgres.connections import PrivilegedRoleError, UnavailableError, check_roles
from registry.postgres.embedded import EmbeddedPostgresError
from registry.settings import Settings, SettingsError


class NotYetRecordedError(Exception):
    """What is asked about has not been recorded, so that the answer would change."""


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
    PrivilegedRoleError,
    UnavailableError,
    Refusal,
    NotYetRecordedError,
)
"""What a command ends with in a sentence, and status 1."""


LAST_RESORT_SECONDS = 8
COLLECT = (10_000, 20, 20)


class UsageError(Exception):
    """The words of the command do not fit together."""


def say(line: str) -> None:
    """Progress, seen at once also where it goes to a file."""
    print(line, flush=True)


def opened(url: str, settings: Settings) -> Keys:
    """The secrets of a database that is ready for this release."""
    with database.owner(url) as connection:
        database.check_migrated(connection)
        check_versions(connection, read_models())
        keys = database.open_keys(connection, settings)
    check_roles(url)
    return keys


def end_in_time() -> None:
    """The process ends though PostgreSQL stands still: what was acknowledged is durable already."""
    last_resort = threading.Timer(LAST_RESORT_SECONDS, os._exit, (1,))
    last_resort.daemon = True
    last_resort.start()


def tune_gc() -> None:
    """For a process that is to work for long: what is there now stays, and little comes that only the
    garbage collector finds.

    It walked through all of it time and again: a sixth of the time of an award, a quarter of that of an
    event in the read models.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT)

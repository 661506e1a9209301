"""What the words of the command `registry` share."""

from __future__ import annotations

from consumers.interventions import NotStoppedError
from consumers.rebuild import RebuildError
from projections.all import read_models
from projections.read_model import NotRebuiltError, check_versions
from registry import migrate, replay, setup
from registry.domain.errors import Refusal
from registry.embedded import EmbeddedPostgresError
from registry.keys import KeyFileError, Keys
from registry.postgres import PrivilegedRoleError, UnavailableError, check_roles
from registry.settings import Settings, SettingsError
from registry.tails import HistoryError
from registry.topics import TopicError

FAILURES = (
    SettingsError,
    KeyFileError,
    EmbeddedPostgresError,
    migrate.SchemaTooNewError,
    migrate.WrongEncodingError,
    setup.NotMigratedError,
    NotRebuiltError,
    NotStoppedError,
    RebuildError,
    HistoryError,
    TopicError,
    PrivilegedRoleError,
    UnavailableError,
    Refusal,
    replay.NotYetRecordedError,
)
"""What a command ends with in a sentence, and status 1."""


class UsageError(Exception):
    """The words of the command do not fit together."""


def say(line: str) -> None:
    """Progress, seen at once also where it goes to a file."""
    print(line, flush=True)


def opened(url: str, settings: Settings) -> Keys:
    """The secrets of a database that is ready for this release."""
    with setup.owner(url) as connection:
        setup.check_migrated(connection)
        check_versions(connection, read_models())
        keys = setup.open_keys(connection, settings)
    check_roles(url)
    return keys

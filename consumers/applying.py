"""Applies pages: rows and positions change in one transaction, so that each event takes effect once."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import psycopg2

from consumers.feeds import PoisonError
from consumers.interventions import skipped_positions
from consumers.store_feed import Page
from projections.read_model import ReadModel, active_version
from registry.domain.events import FACTS, Event
from registry.event_store.log import LoggedEvent
from registry.event_store.read_model_positions import OvertakenError, advance
from registry.postgres.connections import Cursor, is_lost


class ReplacedError(Exception):
    """Another release has rebuilt the read model in another version, and only that release may change it."""


def apply_page(cursor: Cursor, model: ReadModel, page: Page) -> None:
    """Applies a page in one transaction.

    Raises `PoisonError` at an event that cannot be applied; the events before it are applied then.
    """
    try:
        _apply(cursor, model, page)
    except (OvertakenError, ReplacedError):
        raise
    except Exception as error:
        if is_lost(cursor.connection, error):
            raise
        _apply_singly(cursor, model, page)


def _apply(cursor: Cursor, model: ReadModel, page: Page) -> None:
    cursor.execute("BEGIN")
    try:
        # Move the positions first: an overtaken projector fails before it changes a row, and an intervention
        # of an operator waits for the lock.
        advance(cursor, model.name, page.at, page.to, page.partitions)
        check_version(cursor, model)
        if events := decoded(model, page.events, skipped_positions(cursor, model.name)):
            model.apply(cursor, events)
        cursor.execute("COMMIT")
    except Exception:
        if not cursor.connection.closed:
            cursor.execute("ROLLBACK")
        raise


def check_version(cursor: Cursor, model: ReadModel) -> None:
    """Raises `ReplacedError` where the version in use is not this release's."""
    active = active_version(cursor, model.name)
    if active != model.version:
        raise ReplacedError(f"{model.name} now has version {active}, but this release has {model.version}")


def decoded(
    model: ReadModel, page: Sequence[LoggedEvent], skipped: frozenset[int] = frozenset()
) -> list[Event]:
    """The events of a page that the read model handles, without those at skipped positions."""
    return [
        logged.event()
        for logged in page
        if _handles(model.handles, logged.type, logged.schema_version) and logged.position not in skipped
    ]


@functools.cache
def _handles(prefixes: tuple[str, ...], kind: str, schema_version: int) -> bool:
    """Whether a read model handles an event; true of every event that this release does not know.

    An unknown event may change the read model, so decoding it must stop the read model.
    """
    return f"{kind}/{schema_version}" not in FACTS or kind.startswith(prefixes)


def _apply_singly(cursor: Cursor, model: ReadModel, page: Page) -> None:
    """Applies each event in its own transaction, to find the one that cannot be applied."""
    for single in page.singly():
        try:
            _apply(cursor, model, single)
        except (OvertakenError, ReplacedError):
            raise
        except Exception as error:
            if is_lost(cursor.connection, error):
                raise
            (logged,) = single.events
            partition = logged.partition(page.partitions)
            raise PoisonError(partition, logged.position, f"{logged.type}: {reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    """The reason why an event cannot be applied: the class of the error, and its text for the operator."""
    # A database error's text can hold a row's values; its class cannot.
    kind = type(error).__name__
    return kind if isinstance(error, psycopg2.Error) else f"{kind}: {error}"

"""Applying pages: rows and the positions behind them in one transaction, each event with its effect once."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import psycopg2

from consumers.feeds import PoisonError
from consumers.interventions import skipped
from consumers.store_feed import Page
from projections.read_model import ReadModel, active_version
from registry.domain.events import FACTS, Event
from registry.event_store.log import LoggedEvent
from registry.event_store.read_model_positions import OvertakenError, advance
from registry.postgres.connections import Cursor, is_lost


class ReplacedError(Exception):
    """Another release has rebuilt the read model in another version: only that one goes on with it."""


def apply_page(cursor: Cursor, model: ReadModel, page: Page) -> None:
    """Applies a page in one transaction; a poison event leaves those before it applied.

    Raises `PoisonError` when the read model stands before an event that it cannot apply.
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
        # The positions first: who was overtaken finds out before it changes a row, and no operator's word
        # comes in between.
        advance(cursor, model.name, page.at, page.to, page.partitions)
        check_version(cursor, model)
        if events := decoded(model, page.events, skipped(cursor, model.name)):
            model.apply(cursor, events)
        cursor.execute("COMMIT")
    except Exception:
        if not cursor.connection.closed:
            cursor.execute("ROLLBACK")
        raise


def check_version(cursor: Cursor, model: ReadModel) -> None:
    """Raises `ReplacedError` where another version than this release's answers."""
    active = active_version(cursor, model.name)
    if active != model.version:
        raise ReplacedError(f"{model.name} has version {active} now, and this release has {model.version}")


def decoded(
    model: ReadModel, page: Sequence[LoggedEvent], passed_over: frozenset[int] = frozenset()
) -> list[Event]:
    """The events of a page that the read model takes."""
    return [
        logged.event()
        for logged in page
        if _takes(model.takes, logged.type, logged.schema_version) and logged.position not in passed_over
    ]


@functools.cache
def _takes(beginnings: tuple[str, ...], kind: str, schema_version: int) -> bool:
    """Whether an event is one of the read model's: also one that this release does not know.

    Nobody can say that an unknown event changes nothing here; decoding it stops the read model.
    """
    return f"{kind}/{schema_version}" not in FACTS or kind.startswith(beginnings)


def _apply_singly(cursor: Cursor, model: ReadModel, page: Page) -> None:
    """Finds the event that cannot be applied, one transaction an event."""
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
    """What is said of an event that cannot be applied."""
    # A database error's text can hold a row's values; its class cannot.
    return type(error).__name__ if isinstance(error, psycopg2.Error) else str(error)

"""Two clocks, this process's and the database's: while they differ too much, one of them is wrong.

A time in the log can never be repaired, so nothing is recorded then (the SQL function `append` compares).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

from registry.postgres.connections import Cursor, UnavailableError

SystemTime = Callable[[], dt.datetime]
CLOCK_IS_WRONG = "RG001"
"""The SQLSTATE with which `append` refuses: the same in append.sql."""


class ClockError(UnavailableError):
    """The clocks differ, or the last event lies in the future: nothing is recorded until they agree."""


def system_time() -> dt.datetime:
    """The time by the clock of this process's host."""
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True)
class Clocks:
    """In seconds: the database's clock less this process's; how far the last event lies in the future."""

    difference: float
    log_ahead: float


def compare_clocks(cursor: Cursor, time: SystemTime) -> Clocks:
    """The difference is exact to half the time that the database takes to answer."""
    asked = time()
    cursor.execute(
        "SELECT clock_timestamp(),"
        " (SELECT time FROM event ORDER BY position DESC LIMIT 1) - clock_timestamp()"
    )
    answered = time()
    there, ahead = cursor.fetchone() or (asked, None)
    here = asked + (answered - asked) / 2
    return Clocks((there - here).total_seconds(), max(0.0, ahead.total_seconds()) if ahead else 0.0)

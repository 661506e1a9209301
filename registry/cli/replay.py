"""The command `registry replay`: prints the log, counts its events, or shows a badge as it was."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections import Counter
from typing import assert_never

from registry.cli import database
from registry.cli.common import NotYetRecordedError, UsageError, check_database
from registry.domain import badge as badges
from registry.domain.errors import BadgeUnknown
from registry.domain.events import (
    BadgeAwarded,
    BadgeCorrected,
    BadgeFact,
    BadgeReinstated,
    BadgeRevoked,
    BadgeSuspended,
    badge_fact,
)
from registry.domain.values import UUID, iso_time
from registry.event_store.log import (
    LoggedEvent,
    last_position,
    position_at,
    read_pages,
    read_streams,
    time_of,
)
from registry.postgres.connections import Cursor, Pool
from registry.settings import Settings

PROGRESS = 100_000


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    if (arguments.badge is None) != (arguments.as_of is None):
        raise UsageError("--badge and --as-of must be given together")
    if arguments.badge is not None and (arguments.after or arguments.until or arguments.format):
        raise UsageError("--badge cannot be combined with --after, --until or --format")
    if arguments.badge is not None and not UUID.fullmatch(arguments.badge):
        raise UsageError("--badge must be a badge's id, which is a UUID")
    with database.started(settings, "registry_serve") as url:
        check_database(url, "registry_serve")
        pool = Pool(url, "registry_read", 1)
        try:
            if arguments.badge is not None:
                print_badge(pool, arguments.badge, arguments.as_of)
                return 0
            until = end(pool, arguments.after, arguments.until)
            show = print_summary if arguments.format == "summary" else print_log
            show(pool, arguments.after, until)
        finally:
            pool.close()
    return 0


def end(pool: Pool, after: int, until: dt.datetime | None) -> int:
    """The last position recorded by a time, or the last one if no time is given."""
    with pool.cursor() as cursor:
        last = last_position(cursor)
        if after > last:
            raise NotYetRecordedError(f"--after is beyond the end of the log, position {last}")
        return last if until is None else position_at(cursor, until)


def print_log(pool: Pool, after: int, until: int) -> None:
    """Prints the events, one a line, as `/v1/events` shows them; progress goes to standard error."""
    for page in read_pages(pool, after, until):
        sys.stdout.buffer.write(b"".join(event.line() for event in page))
        _say_progress(page, until)
    sys.stdout.buffer.flush()


def print_summary(pool: Pool, after: int, until: int) -> None:
    """Prints the number of events of each type, and the last position."""
    counts: Counter[str] = Counter()
    for page in read_pages(pool, after, until):
        counts.update(event.type for event in page)
        _say_progress(page, until)
    for kind, count in sorted(counts.items()):
        print(f"{kind} {count}")
    print(f"events {counts.total()}, through position {until}")


def print_badge(pool: Pool, badge_id: str, at: dt.datetime | int) -> None:
    """Prints the badge as it was recorded by then, folded from its events; expiry is decided at that time."""
    with pool.cursor() as cursor:
        position, moment = _place(cursor, at)
        events = read_streams(cursor, [badge_id], position) if UUID.fullmatch(badge_id) else []
    if not events or events[0].type != BadgeAwarded.TYPE:
        raise BadgeUnknown
    state = badges.fold(event.event() for event in events)
    status, since = badges.status_of(state, moment)
    award = state.award
    print(f"badge {badge_id} at position {position}, {iso_time(moment)}")
    print(f"status {status} since {iso_time(since)}")
    print(
        f"awarded on {award.awarded_on} by {award.institution}, recorded at position {state.award_position}"
    )
    print(f"module {award.module_id} version {award.module_version}")
    if award.valid_until is not None:
        print(f"valid until {award.valid_until}")
    for event in events:
        print(
            f"  {event.position} {iso_time(event.time)} {event.type}{_particulars(badge_fact(event.event()))}"
        )


def _particulars(fact: BadgeFact) -> str:
    """The reason, and the day from which a revocation has legal effect, which does not move the status."""
    match fact:
        case BadgeSuspended():
            return f", {fact.reason}"
        case BadgeRevoked():
            effective = f", effective on {fact.effective_on}" if fact.effective_on else ""
            return f", {fact.reason}{effective}{', as observed' if fact.observed else ''}"
        case BadgeAwarded() | BadgeCorrected() | BadgeReinstated():
            return ""
        case _:
            assert_never(fact)


def _place(cursor: Cursor, at: dt.datetime | int) -> tuple[int, dt.datetime]:
    """The last position that counts, and the time at which expiry is decided."""
    if isinstance(at, dt.datetime):
        if at > dt.datetime.now(dt.UTC):
            raise NotYetRecordedError("--as-of is in the future")
        return position_at(cursor, at), at
    if (last := last_position(cursor)) < at:
        raise NotYetRecordedError(f"--as-of is beyond the end of the log, position {last}")
    return at, time_of(cursor, at)


def _say_progress(page: list[LoggedEvent], until: int) -> None:
    before, position = page[0].position - 1, page[-1].position
    if before // PROGRESS < position // PROGRESS:
        print(f"{position} of {until}", file=sys.stderr)

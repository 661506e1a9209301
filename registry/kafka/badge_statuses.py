"""The latest status of badges, for readers that follow the topic of statuses instead of calling the API.

A record's key is the badge's id, its value the members of `GET /v1/badges/{id}/status` that do not depend
on the day, and `validUntil`: after that day a badge that is `active` here has expired. `unknown` is the
status where this release cannot read an event of the badge's.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from registry.domain import badge as badges
from registry.domain.events import MisplacedEventError, UnknownEventError, canonical
from registry.domain.values import iso_time
from registry.event_store.log import LoggedEvent, read_streams
from registry.postgres.connections import Cursor


class BadgeStatus(NamedTuple):
    """A badge's status after the event at `position`; `value` is canonical JSON."""

    badge_id: str
    position: int
    time: dt.datetime
    value: bytes


class _Value(msgspec.Struct, rename="camel", omit_defaults=True):
    id: str
    status: str
    since: str
    institution: str | None
    position: int
    valid_until: dt.date | None = None


def latest_statuses(cursor: Cursor, page: Sequence[LoggedEvent]) -> list[BadgeStatus]:
    """The status of each badge that a page of the log changes, in the order of their last events."""
    last = {event.subject: event for event in page if event.type.startswith("badge.")}
    older = [subject for subject, event in last.items() if event.version > 1]
    streams: dict[str, list[LoggedEvent]] = {subject: [event] for subject, event in last.items()}
    if older:
        streams |= {subject: [] for subject in older}
        for event in read_streams(cursor, older, page[-1].position):
            streams[event.subject].append(event)
    return sorted((_status(streams[subject]) for subject in last), key=lambda status: status.position)


def _status(stream: Sequence[LoggedEvent]) -> BadgeStatus:
    last = stream[-1]
    return BadgeStatus(last.subject, last.position, last.time, canonical(_value(stream, last)))


def _value(stream: Sequence[LoggedEvent], last: LoggedEvent) -> _Value:
    try:
        badge = badges.fold(logged.event() for logged in stream)
    except (UnknownEventError, MisplacedEventError, msgspec.DecodeError):
        # An event of a later release, or a damaged one, may have changed the status: the last must not stay.
        return _Value(last.subject, "unknown", iso_time(last.time), None, last.position)
    status, since = badges.status(
        last.time,
        revoked_since=badge.revoked_since,
        suspended_since=badge.suspended_since,
        valid_until=None,
        active_since=badge.active_since,
    )
    valid_until = badge.award.valid_until if status == "active" else None
    return _Value(badge.id, status, iso_time(since), badge.award.institution, badge.position, valid_until)

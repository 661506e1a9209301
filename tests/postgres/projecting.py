"""What the read models should hold by the log, and what they do hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from consumers.feeds import StoreSource
from consumers.projector import Projector, at_work, projectors_of
from projections.read_model import ReadModel
from registry.domain import badge as badges
from registry.domain import institution as institutions
from registry.domain import module as modules
from registry.domain.badge import Badge
from registry.domain.events import Event
from registry.domain.institution import Institution
from registry.domain.module import Module
from registry.postgres.connections import Pool
from tests.postgres.log import query, until, whole_log

Rows = dict[str, tuple[Any, ...]]


def held(url: str) -> Rows:
    """By subject, what changes of each badge, institution and module."""
    found = query(
        url,
        "SELECT id::text, learner_id::text, award_position, last_position, active_since, suspended_since,"
        " suspended_for, revoked_since, revoked_for FROM badge",
    )
    found += query(
        url,
        "SELECT brin, name, admitted_until, suspended_since IS NOT NULL, suspended_for, last_position"
        " FROM institution",
    )
    found += query(
        url,
        "SELECT id::text, institution, reference, latest, withdrawn_from, last_position,"
        " array_agg(content_hash ORDER BY v.version) FROM module JOIN module_version v ON module_id = id"
        " GROUP BY id",
    )
    return {row[0]: row[1:] for row in found}


def folded(url: str) -> Rows:
    """The same, from the log and by the domain's own rules."""
    streams: dict[str, list[Event]] = defaultdict(list)
    for logged in whole_log(url):
        if logged.type.startswith(("token.", "registry.")):
            continue  # no read model follows what operators do
        streams[logged.subject].append(logged.event())
    return {subject: _state(stream) for subject, stream in streams.items()}


def _state(stream: list[Event]) -> tuple[Any, ...]:
    kind = stream[0].data.TYPE.partition(".")[0]
    fold = {"badge": badges.fold, "institution": institutions.fold, "module": modules.fold}[kind]
    match fold(stream):
        case Badge() as badge:
            return (
                badge.award.learner_id,
                badge.award_position,
                badge.position,
                badge.active_since,
                badge.suspended_since,
                badge.suspended_for,
                badge.revoked_since,
                badge.revoked_for,
            )
        case Institution() as institution:
            suspension = institution.suspension
            return (
                institution.particulars.name,
                institution.particulars.admitted_until,
                suspension is not None,
                suspension.reason if suspension else None,
                institution.position,
            )
        case Module() as module:
            hashes = [digest for digest, _ in module.versions]
            return (
                module.institution,
                module.reference,
                module.latest,
                module.withdrawn_from,
                module.position,
                hashes,
            )
    raise AssertionError(kind)


def positions(url: str) -> dict[str, int]:
    return dict(query(url, "SELECT name, min(position) FROM read_model_position GROUP BY name"))


def stopped(url: str) -> dict[str, tuple[int, str]]:
    """The read models that an event has stopped: at which position, and why."""
    rows = query(
        url,
        "SELECT name, stopped_at, stopped_because FROM read_model_position WHERE stopped_at IS NOT NULL",
    )
    return {name: (at, because) for name, at, because in rows}


@contextmanager
def projectors(url: str, models: Sequence[ReadModel]) -> Iterator[list[Projector]]:
    """Each in a thread of its own, until the block ends."""
    pool = Pool(url, "registry_project", 4)
    started = projectors_of(url, StoreSource(pool), models)
    with closing(pool), at_work(started):
        yield started


def settled(url: str, *names: str) -> None:
    """Waits until these read models, or all, hold the whole log."""
    last = len(whole_log(url))
    until(lambda: all(at == last for name, at in positions(url).items() if not names or name in names))

"""Projecting a log from its start into all read models; beside the library's projection runner.

One event in ten revokes an award: half of them in the same page, half an award some 5,000 events before.
The peer keeps the same table with the same indexes, an event and a transaction at a time, as its
documentation shows; it has a shorter log, because only the rates are compared.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from eventsourcing.persistence import Tracking

from consumers.applying import apply_page
from consumers.projector import MAX_PAGE
from consumers.store_feed import LogEnd, StoreFeed
from projections.all import read_models
from projections.read_model import position
from registry.event_store.read_model_positions import positions_of
from registry.postgres.connections import Pool, connect
from tests import support
from tests.benchmarks import material
from tests.benchmarks.candidates import stock_environment
from tests.benchmarks.measure import Compared, Goal, take_turns
from tests.benchmarks.servers import Server
from tests.benchmarks.stock import application as stock
from tests.benchmarks.stock.domain import Badge, Module
from tests.benchmarks.stock.projection import BadgeProjection, runner
from tests.postgres.writing import Writer

EVENTS = 20_000
PEER_EVENTS = 3_000
PATIENCE_SECONDS = 120


def measure(server: Server, folder: Path, rounds: int) -> list[Compared]:
    del folder
    compared = Compared(
        "projecting, all read models", "events/s", "the library's projection runner", Goal(8, 12)
    )
    log, peer_log = server.registry(), server.empty()
    fill(log)
    _fill_peer(peer_log)
    return [take_turns(compared, rounds, partial(_ours, server, log), partial(_peer, server, peer_log))]


def _ours(server: Server, log: str) -> float:
    """Every read model in turn, from the start of the log to its end."""
    url = server.copy(log)
    last = material.size_of_log(url)
    pool = Pool(url, "registry_project", 1)
    connection = connect(url, "registry_project")
    try:
        began = time.perf_counter()
        with connection.cursor() as cursor:
            for model in read_models():
                feed = StoreFeed(LogEnd(pool), positions_of(cursor, model.name))
                while page := feed.read(MAX_PAGE):
                    apply_page(cursor, model, page)
                assert position(cursor, model.name) == last, "a read model did not come to the end"
        return last / (time.perf_counter() - began)
    finally:
        connection.close()
        pool.close()


def _peer(server: Server, log: str) -> float:
    """The runner, from its start until it has processed the last event."""
    environment = stock_environment(server.copy(log))
    _Counted.left, _Counted.done = PEER_EVENTS, threading.Event()
    began = time.perf_counter()
    with runner(environment, _Counted):
        if not _Counted.done.wait(PATIENCE_SECONDS):
            raise RuntimeError("the library's runner did not come to the end")
        return PEER_EVENTS / (time.perf_counter() - began)


class _Counted(BadgeProjection):
    """Says when it has processed the last event."""

    name = "badges"
    left = 0
    done = threading.Event()

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        super().process_event(domain_event, tracking)
        _Counted.left -= 1
        if _Counted.left == 0:
            _Counted.done.set()


def _shape(events: int) -> Iterator[tuple[bool, int]]:
    """(True, the number of an award) and (False, the number of the award to revoke)."""

    def endless() -> Iterator[tuple[bool, int]]:
        for turn in itertools.count():
            yield from ((True, turn * 9 + each) for each in range(9))
            back = turn if turn % 2 == 0 else turn - 500
            if back >= 0:
                yield False, back * 9

    return itertools.islice(endless(), events)


def fill(url: str, events: int = EVENTS) -> None:
    maker = material.Maker(material.catalogue(url))
    awards = maker.awards(events)
    made = [
        awards[number] if new else material.revocation(awards[number], maker.module_id)
        for new, number in _shape(events)
    ]
    writer = Writer(url)
    try:
        for first in range(0, events, 1_000):
            writer.append(made[first : first + 1_000])
    finally:
        writer.close()


def _fill_peer(url: str) -> None:
    environment = stock_environment(url)
    stock.prepare(environment, support.INSTITUTION, support.MODULE, material.BRIN)
    module_id = Module.create_id(material.BRIN, support.MODULE["reference"])
    badges: list[Badge] = []
    with stock.Registry(environment) as registry:
        for new, number in _shape(PEER_EVENTS):
            if new:
                badges.append(_peer_badge(module_id))
            else:
                badges[number].revoke("awarded-in-error")
            registry.save(badges[number])


def _peer_badge(module_id: UUID) -> Badge:
    badge_id = uuid4()
    return Badge(
        badge_id=badge_id,
        client="benchmark",
        institution=material.BRIN,
        institution_name=support.INSTITUTION["name"],
        sector="hbo",
        learner_id=uuid4(),
        module_id=module_id,
        module_version=1,
        module_name=support.MODULE["name"],
        study_load=support.MODULE["studyLoad"],
        level=support.MODULE["level"],
        isced="0913",
        content_hash=badge_id.hex * 2,
        awarded_on="2023-04-19",
        valid_until=None,
        commitments=dict.fromkeys(("learner", "reference", "grade", "evidence"), badge_id.hex * 2),
    )

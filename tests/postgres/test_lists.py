"""Lists read page by page hold each item once, whatever is recorded meanwhile."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator

import pytest

from api.http import cursors
from projections.all import read_models
from projections.badges import queries
from projections.badges.projection import BadgeRow
from projections.catalogue.queries import ModuleFilter, VersionedModule, list_modules
from projections.read_model import asking, institution
from registry.postgres.connections import Pool
from registry.recording.commands import RevokeBadge, SuspendBadge, WithdrawModule
from registry.recording.registry import Registry
from tests.postgres.commands import CONTENT, ORIGIN, award, register_module
from tests.postgres.log import later
from tests.postgres.projecting import projectors, settled

NOW = dt.datetime.now(dt.UTC)
LIMIT = 7


@pytest.fixture
def reading(url: str) -> Iterator[Pool]:
    pool = Pool(url, "registry_read", 2)
    yield pool
    pool.close()


def badge_pages(pool: Pool) -> Iterator[list[BadgeRow]]:
    cursor: str | None = None
    while True:
        before = cursors.decode_position("badges", cursor, 2**62)
        asker = institution("27UM")
        with asking(pool, asker) as opened:
            _, found = queries.list_badges(
                opened, asker, ("institution", "27UM"), queries.Filter(), NOW, before, LIMIT + 1
            )
        rows = [badge.row for badge in found]
        shown, cursor = cursors.page("badges", rows, LIMIT, lambda row: row.award_position)
        yield shown
        if cursor is None:
            return


def module_pages(pool: Pool) -> Iterator[list[VersionedModule]]:
    after, more = 0, True
    while more:
        with pool.cursor() as opened:
            _, shown, more = list_modules(opened, ModuleFilter(), NOW, after, LIMIT)
        yield shown
        after = shown[-1].module.position if shown else after


def test_pages_of_badges_hold_each_award_once_while_others_are_recorded(
    url: str, registry: Registry, reading: Pool
) -> None:
    first = [award(registry, "27UM", f"first {number}", "a").id for number in range(30)]
    done = threading.Event()

    def write() -> int:
        count = 0
        while count == 0 or not done.is_set():
            badge = award(registry, "27UM", f"more {count}", "b")
            registry.record(RevokeBadge("27UM", badge.id, "fraud", None, None, ORIGIN))
            registry.record(SuspendBadge("27UM", first[count % 30], "appeal", None, ORIGIN))
            count += 1
        return count

    with projectors(url, read_models()):
        settled(url)
        writing = later(write)
        for _ in range(5):
            found = [row.id for page in badge_pages(reading) for row in page]
            assert len(found) == len(set(found))
            assert [badge for badge in found if badge in first] == first[::-1]
        done.set()
        writing.result(20)


def test_pages_of_modules_hold_each_module_once_while_others_are_recorded(
    url: str, registry: Registry, reading: Pool
) -> None:
    first = [register_module(registry, "27UM", f"first {n}", CONTENT, ORIGIN).id for n in range(20)]
    done = threading.Event()

    def write() -> int:
        count = 0
        while count == 0 or not done.is_set():
            register_module(registry, "27UM", f"more {count}", CONTENT, ORIGIN)
            registry.record(WithdrawModule("27UM", first[count % 20], None, ORIGIN))
            count += 1
        return count

    with projectors(url, read_models()):
        settled(url)
        writing = later(write)
        for _ in range(5):
            found = [row.module.id for page in module_pages(reading) for row in page]
            assert len(found) == len(set(found))
            assert [module for module in found if module in first] == first
        done.set()
        writing.result(20)

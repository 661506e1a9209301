"""The work of a look-up follows what it answers: no filter reads much more than its page."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections.abc import Iterator
from typing import Any, Literal

import psycopg2.extensions
import pytest

from projections.badges import queries
from projections.badges.projection import BadgeRow, Badges
from projections.badges.queries import Filter
from projections.read_model import AUDITOR
from projections.tables import names
from registry.event_store.log import read_log
from registry.postgres.connections import Connection, Cursor
from registry.recording.commands import RevokeBadge, SuspendBadge
from registry.recording.registry import Registry
from tests.postgres.commands import ORIGIN, award
from tests.postgres.log import connection, execute, fresh, whole_log
from tests.postgres.projecting import projectors, settled
from tests.support import Databases

COUNT = 40_000
PAGE = 50
NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
MODULE = "00000000-0000-4000-8000-000000000000"


class Explaining(Cursor):
    """Notes how many rows each statement reads from tables."""

    def execute(self, query: Any, vars: Any = None) -> None:
        super().execute(b"EXPLAIN (ANALYZE, FORMAT JSON) " + self.mogrify(query, vars))
        ((plan,),) = self.fetchall()
        self.read = _rows_read((plan if isinstance(plan, list) else json.loads(plan))[0]["Plan"])
        super().execute(query, vars)


def _rows_read(plan: dict[str, Any]) -> float:
    own = 0.0
    if "Relation Name" in plan:
        skipped = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
        own = plan["Actual Loops"] * (plan["Actual Rows"] + skipped)
    return own + sum(_rows_read(child) for child in plan.get("Plans", ()))


@pytest.fixture(scope="module")
def large(databases: Databases) -> Iterator[Connection]:
    """Badges of one institution and module over eight years: few revoked, suspended or expired."""
    with fresh(databases) as url, connection(url) as opened:
        execute(
            url,
            f"INSERT INTO badge ({names(BadgeRow)}) SELECT"
            " md5(n::text)::uuid, '27UM', n,"
            " CASE WHEN mod(n, 1000) = 0 THEN date '2024-01-01' + mod(n, 365) END,"
            " now(), CASE WHEN mod(n, 2000) = 7 THEN now() END, CASE WHEN mod(n, 2000) = 9 THEN now() END,"
            f" n, md5(mod(n, 9000)::text)::uuid, '{MODULE}', 1, '{{}}', date '2018-06-01' + n / 15, NULL,"
            f" mod(n, 2000) = 7, NULL, NULL, NULL FROM generate_series(1, {COUNT}) n",
        )
        execute(url, "ANALYZE badge")
        yield opened


OWNERS: list[tuple[Literal["institution", "module_id"], str]] = [
    ("institution", "27UM"),
    ("module_id", MODULE),
]
DAY = dt.date(2018, 6, 1) + dt.timedelta(days=COUNT // 30)
STATUSES: tuple[Any, ...] = (None, "active", "suspended", "revoked", "expired")


@pytest.mark.parametrize(("owned", "status"), list(itertools.product(OWNERS, STATUSES)))
def test_a_list_by_status_reads_little_more_than_its_page(
    large: Connection, owned: tuple[Literal["institution", "module_id"], str], status: Any
) -> None:
    with large.cursor(cursor_factory=Explaining) as cursor:
        wanted = Filter(status=status, awarded_from=dt.date(2018, 1, 1))
        _, found = queries.list_badges(cursor, AUDITOR, owned, wanted, NOW, 2**62, PAGE + 1)
        assert len(found) == (
            PAGE + 1 if status in (None, "active") else COUNT // 2000 * (1 + (status == "expired"))
        )
        assert cursor.read <= 4 * (PAGE + 1)


def test_a_list_of_one_day_reads_that_day(large: Connection) -> None:
    with large.cursor(cursor_factory=Explaining) as cursor:
        wanted = Filter(awarded_from=DAY, awarded_until=DAY)
        _, found = queries.list_badges(cursor, AUDITOR, OWNERS[0], wanted, NOW, 2**62, PAGE + 1)
        assert [badge.row.awarded_on for badge in found] == [DAY] * 15
        assert cursor.read <= 4 * (PAGE + 1)


def test_the_events_of_a_rare_type_are_found_however_far_they_are(databases: Databases) -> None:
    with fresh(databases) as url, connection(url) as opened:
        execute(
            url,
            "INSERT INTO event (position, subject, version, type, schema_version, time, data)"
            " SELECT n, md5(n::text), 1, CASE n WHEN 119000 THEN 'badge.revoked' ELSE 'badge.awarded' END, 1,"
            " now(), '' FROM generate_series(1, 120000) n",
        )
        execute(url, "ANALYZE event")
        with opened.cursor() as cursor:
            assert [event.position for event in read_log(cursor, 0, 1_000, kind="badge.revoked")] == [119_000]
            cursor.execute(
                "EXPLAIN SELECT * FROM event WHERE position > 0 AND type = 'badge.revoked'"
                " AND type <> 'badge.awarded' ORDER BY position LIMIT 1000"
            )
            plan = "\n".join(line for (line,) in cursor.fetchall())
            assert "event_of_rare_type" in plan


class Counting(psycopg2.extensions.cursor):
    statements = 0

    def execute(self, query: Any, vars: Any = None) -> None:
        self.statements += 1
        super().execute(query, vars)


def test_a_projected_page_costs_a_few_statements_however_many_badges_change(
    url: str, registry: Registry
) -> None:
    for number in range(40):
        award(registry, "27UM", f"changing {number}", "x")
    with projectors(url, [Badges()]):
        settled(url, "badges")
    end = len(whole_log(url))
    for number in range(40):
        badge = award(registry, "27UM", f"changing {number}", "x").id
        if number % 2:
            registry.record(RevokeBadge("27UM", badge, "other", None, None, ORIGIN))
        else:
            registry.record(SuspendBadge("27UM", badge, "other", None, ORIGIN))
    events = [logged.event() for logged in whole_log(url, end)]
    assert len(events) == 40
    with connection(url, "registry_project") as opened, opened.cursor(cursor_factory=Counting) as cursor:
        cursor.execute("BEGIN")
        Badges().apply(cursor, events)
        assert cursor.statements <= 4
        cursor.execute(
            "SELECT count(*) FROM badge WHERE revoked_since IS NOT NULL OR suspended_since IS NOT NULL"
        )
        assert cursor.fetchone() == (40,)
        cursor.execute("ROLLBACK")
